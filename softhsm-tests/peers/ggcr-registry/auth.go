package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// credentials that are asked for. Without a user, the token endpoint gives tokens to everybody.
type credentials struct{ user, password string }

func (c credentials) fit(asked *http.Request) bool {
	user, password, _ := asked.BasicAuth()
	return user == c.user && password == c.password
}

// basic asks for user and password (RFC 7617) at every path.
func basic(next http.Handler, wanted credentials) http.Handler {
	return http.HandlerFunc(func(answer http.ResponseWriter, asked *http.Request) {
		if !wanted.fit(asked) {
			answer.Header().Set("WWW-Authenticate", `Basic realm="peers"`)
			refuse(answer)
			return
		}
		next.ServeHTTP(answer, asked)
	})
}

// tokens asks for a bearer token as the distribution project specifies it: a read needs a token
// for repository:<name>:pull, a deletion one for delete, another write one for push. Each
// token is good for exactly the scopes that it was asked for, for as long as the registry runs.
type tokens struct {
	next   http.Handler
	wanted credentials
	realm  string
	mutex  sync.Mutex
	scopes map[string][]string // by token
}

func newTokens(next http.Handler, wanted credentials, realm string) http.Handler {
	return &tokens{next: next, wanted: wanted, realm: realm, scopes: map[string][]string{}}
}

func (t *tokens) ServeHTTP(answer http.ResponseWriter, asked *http.Request) {
	if asked.URL.Path == "/token" {
		t.give(answer, asked)
		return
	}
	repository, actions := needed(asked)
	if !t.allowed(asked, repository, actions) {
		answer.Header().Set("WWW-Authenticate", t.challenge(asked, repository, actions))
		refuse(answer)
		return
	}
	t.next.ServeHTTP(answer, asked)
}

// give is the token endpoint: GET with basic authentication, or POST (OAuth 2) with a password
// or with a refresh token, which is the password.
func (t *tokens) give(answer http.ResponseWriter, asked *http.Request) {
	if err := asked.ParseForm(); err != nil {
		http.Error(answer, err.Error(), http.StatusBadRequest)
		return
	}
	member, fit := "token", t.wanted.fit(asked)
	if asked.Method == http.MethodPost {
		member = "access_token"
		switch form := asked.PostForm; form.Get("grant_type") {
		case "refresh_token":
			fit = form.Get("refresh_token") == t.wanted.password
		case "password":
			fit = credentials{form.Get("username"), form.Get("password")} == t.wanted
		default:
			fit = false
		}
	}
	if !fit && t.wanted.user != "" {
		refuse(answer)
		return
	}
	var scopes []string
	for _, scope := range asked.Form["scope"] {
		scopes = append(scopes, strings.Fields(scope)...)
	}
	token := rand.Text()
	t.mutex.Lock()
	t.scopes[token] = scopes
	t.mutex.Unlock()
	answer.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(answer).Encode(map[string]any{member: token, "expires_in": 300})
}

// allowed says whether the request has a token for all of actions on repository.
func (t *tokens) allowed(asked *http.Request, repository string, actions []string) bool {
	token, ok := strings.CutPrefix(asked.Header.Get("Authorization"), "Bearer ")
	t.mutex.Lock()
	scopes, known := t.scopes[token]
	t.mutex.Unlock()
	if !ok || !known {
		return false
	}
	var granted []string
	for _, scope := range scopes {
		if list, ok := strings.CutPrefix(scope, "repository:"+repository+":"); ok {
			granted = append(granted, strings.Split(list, ",")...)
		}
	}
	return !slices.ContainsFunc(actions, func(action string) bool { return !slices.Contains(granted, action) })
}

func (t *tokens) challenge(asked *http.Request, repository string, actions []string) string {
	realm := t.realm
	if realm == "" {
		scheme := "http"
		if asked.TLS != nil {
			scheme = "https"
		}
		realm = scheme + "://" + asked.Host + "/token"
	}
	challenge := fmt.Sprintf(`Bearer realm="%s",service="peers"`, realm)
	if repository != "" {
		challenge += fmt.Sprintf(`,scope="repository:%s:%s"`, repository, strings.Join(actions, ","))
	}
	return challenge
}

// needed is what a token must allow for a request; nothing for /v2/ itself.
func needed(asked *http.Request) (repository string, actions []string) {
	for _, kind := range []string{"manifests", "blobs", "referrers", "tags"} {
		name, _, ok := split(asked.URL.Path, kind)
		if !ok {
			continue
		}
		switch {
		case asked.Method == http.MethodDelete:
			return name, []string{"delete"}
		case isWrite(asked.Method):
			return name, []string{"pull", "push"}
		default:
			return name, []string{"pull"}
		}
	}
	return "", nil
}

func refuse(answer http.ResponseWriter) {
	answer.Header().Set("Content-Type", "application/json")
	answer.WriteHeader(http.StatusUnauthorized)
	_, _ = answer.Write([]byte(`{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`))
}
