// Prints, for each file named on the command line, whether the reference's library finds it intact:
// one JSON object a line, {"file", "good", "error"}.
//
// Envelopes (*.json, *.jws.sig as JWS, *.cose and *.cose.sig as COSE) are parsed and verified as
// notation does in its integrity step. Chains (*.pem) are held against the rules for code signing,
// or for timestamping below a directory of that name.
//
// With -serve it answers cases from stdin instead, see serve.go.
package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	corex509 "github.com/notaryproject/notation-core-go/x509"
)

type verdict struct {
	File  string `json:"file"`
	Good  bool   `json:"good"`
	Error string `json:"error,omitempty"`
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "-serve" {
		if err := serve(os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		return
	}
	out := json.NewEncoder(os.Stdout)
	for _, file := range os.Args[1:] {
		v := verdict{File: file, Good: true}
		if err := check(file); err != nil {
			v.Good, v.Error = false, err.Error()
		}
		if err := out.Encode(v); err != nil {
			os.Exit(1)
		}
	}
}

func check(file string) error {
	if strings.HasSuffix(file, ".pem") {
		return checkChain(file)
	}
	mediaType := jws.MediaTypeEnvelope
	if strings.Contains(filepath.Base(file), ".cose") {
		mediaType = cose.MediaTypeEnvelope
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return checkEnvelope(mediaType, content)
}

func checkEnvelope(mediaType string, content []byte) error {
	envelope, err := signature.ParseEnvelope(mediaType, content)
	if err != nil {
		return err
	}
	verified, err := envelope.Verify()
	if err != nil {
		return err
	}
	if verified.Payload.ContentType != "application/vnd.cncf.notary.payload.v1+json" {
		return errors.New("payload content type not supported")
	}
	var payload struct {
		TargetArtifact struct {
			MediaType   string            `json:"mediaType"`
			Digest      string            `json:"digest"`
			Size        int64             `json:"size"`
			Annotations map[string]string `json:"annotations"`
		} `json:"targetArtifact"`
	}
	return json.Unmarshal(verified.Payload.Content, &payload)
}

func checkChain(file string) error {
	chain, err := corex509.ReadCertificateFile(file)
	if err != nil {
		return err
	}
	if strings.Contains(file, "timestamping") {
		return corex509.ValidateTimestampingCertChain(chain)
	}
	return corex509.ValidateCodeSigningCertChain(chain, (*time.Time)(nil))
}
