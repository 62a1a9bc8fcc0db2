package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// referrers mends where the library's referrers API leaves the distribution specification: the
// answer to a pushed manifest names its subject, a referrer's artifact type is its own and not
// its configuration's, an unknown repository has no referrers rather than no referrers API, and
// the order is that of the pushes rather than random. The filter by artifact type is left to
// the client, as the specification allows.
type referrers struct {
	next   http.Handler
	mutex  sync.Mutex
	pushed []string // "repository@digest", oldest first
}

func newReferrers(next http.Handler) http.Handler {
	return &referrers{next: next}
}

func (r *referrers) ServeHTTP(answer http.ResponseWriter, asked *http.Request) {
	if repository, _, ok := manifestPath(asked.URL.Path); ok && asked.Method == http.MethodPut {
		r.push(answer, asked, repository)
	} else if repository, _, ok := split(asked.URL.Path, "referrers"); ok && asked.Method == http.MethodGet {
		r.list(answer, asked, repository)
	} else {
		r.next.ServeHTTP(answer, asked)
	}
}

func (r *referrers) push(answer http.ResponseWriter, asked *http.Request, repository string) {
	body, err := io.ReadAll(asked.Body)
	if err != nil {
		http.Error(answer, err.Error(), http.StatusBadRequest)
		return
	}
	asked.Body = io.NopCloser(bytes.NewReader(body))
	held := hold(r.next, asked)
	if held.Code == http.StatusCreated {
		r.mutex.Lock()
		pushed := repository + "@" + held.Header().Get("Docker-Content-Digest")
		if !slices.Contains(r.pushed, pushed) {
			r.pushed = append(r.pushed, pushed)
		}
		r.mutex.Unlock()
		var manifest struct {
			Subject *struct {
				Digest string `json:"digest"`
			} `json:"subject"`
		}
		if json.Unmarshal(body, &manifest) == nil && manifest.Subject != nil {
			held.Header().Set("OCI-Subject", manifest.Subject.Digest)
		}
	}
	send(answer, held)
}

func (r *referrers) list(answer http.ResponseWriter, asked *http.Request, repository string) {
	held := hold(r.next, asked)
	index := map[string]any{
		"schemaVersion": 2,
		"mediaType":     "application/vnd.oci.image.index.v1+json",
		"manifests":     []any{},
	}
	switch held.Code {
	case http.StatusOK:
		if err := json.Unmarshal(held.Body.Bytes(), &index); err != nil {
			http.Error(answer, err.Error(), http.StatusInternalServerError)
			return
		}
	case http.StatusNotFound:
	default:
		send(answer, held)
		return
	}
	found, _ := index["manifests"].([]any)
	for _, item := range found {
		descriptor, _ := item.(map[string]any)
		digest, _ := descriptor["digest"].(string)
		if own := r.artifactType(repository, digest); own != "" {
			descriptor["artifactType"] = own
		}
	}
	slices.SortFunc(found, func(a, b any) int { return r.place(repository, a) - r.place(repository, b) })
	body, err := json.Marshal(index)
	if err != nil {
		http.Error(answer, err.Error(), http.StatusInternalServerError)
		return
	}
	answer.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	answer.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = answer.Write(body)
}

// artifactType is the member of that name of a stored manifest, "" without one.
func (r *referrers) artifactType(repository, digest string) string {
	held := hold(r.next, &http.Request{
		Method: http.MethodGet,
		URL:    &url.URL{Path: "/v2/" + repository + "/manifests/" + digest},
		Header: http.Header{},
	})
	var manifest struct {
		ArtifactType string `json:"artifactType"`
	}
	if held.Code != http.StatusOK || json.Unmarshal(held.Body.Bytes(), &manifest) != nil {
		return ""
	}
	return manifest.ArtifactType
}

// place is how many manifests were pushed before this descriptor's.
func (r *referrers) place(repository string, item any) int {
	descriptor, _ := item.(map[string]any)
	digest, _ := descriptor["digest"].(string)
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return slices.Index(r.pushed, repository+"@"+digest)
}

func manifestPath(path string) (repository, reference string, ok bool) {
	return split(path, "manifests")
}

// split parts /v2/<repository>/<kind>/<reference>.
func split(path, kind string) (repository, reference string, ok bool) {
	rest, ok := strings.CutPrefix(path, "/v2/")
	place := strings.LastIndex(rest, "/"+kind+"/")
	if !ok || place < 0 {
		return "", "", false
	}
	return rest[:place], rest[place+len(kind)+2:], true
}
