package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"
)

const (
	mediaTypeJWS = "application/jose+json"

	headerScheme           = "io.cncf.notary.signingScheme"
	headerTime             = "io.cncf.notary.signingTime"
	headerExpiry           = "io.cncf.notary.expiry"
	headerPlugin           = "io.cncf.notary.verificationPlugin"
	headerPluginMinVersion = "io.cncf.notary.verificationPluginMinVersion"
)

// jwsEnvelope is RFC 7515, flattened JSON serialization; its parts in base64url without padding.
type jwsEnvelope struct {
	Payload   string         `json:"payload"`
	Protected string         `json:"protected"`
	Header    map[string]any `json:"header"`
	Signature string         `json:"signature"`
}

// GenerateEnvelope makes a JWS envelope, signing scheme notary.x509. Besides openKey's its configuration is
//
//	verificationPlugin, verificationPluginMinVersion   critical headers of these names
//	attribute.<name>=<value>                           one more critical extended attribute
//	annotation.<name>=<value>                          one more annotation of the signature manifest
func (p frameworkPlugin) GenerateEnvelope(_ context.Context, request *plugin.GenerateEnvelopeRequest) (*plugin.GenerateEnvelopeResponse, error) {
	if request.SignatureEnvelopeType != mediaTypeJWS {
		return nil, plugin.NewUnsupportedError("only JWS envelopes are supported")
	}
	key, err := openKey(request.KeyID, request.PluginConfig)
	if err != nil {
		return nil, err
	}
	header, err := json.Marshal(protectedHeader(key, request, time.Now()))
	if err != nil {
		return nil, err
	}
	encode := base64.RawURLEncoding.EncodeToString
	envelope := jwsEnvelope{
		Payload:   encode(request.Payload),
		Protected: encode(header),
		Header: map[string]any{
			"x5c":                         key.chain,
			"io.cncf.notary.signingAgent": "hardsign tests/" + version,
		},
	}
	signature, err := key.sign([]byte(envelope.Protected + "." + envelope.Payload))
	if err != nil {
		return nil, err
	}
	envelope.Signature = encode(signature)
	encoded, err := json.Marshal(envelope)
	if err != nil {
		return nil, err
	}
	return &plugin.GenerateEnvelopeResponse{
		SignatureEnvelope:     encoded,
		SignatureEnvelopeType: mediaTypeJWS,
		Annotations:           withPrefix("annotation.", request.PluginConfig),
	}, nil
}

func protectedHeader(key *signingKey, request *plugin.GenerateEnvelopeRequest, now time.Time) map[string]any {
	header := map[string]any{
		"alg":        key.algorithm.jws,
		"cty":        request.PayloadType,
		headerScheme: "notary.x509",
		headerTime:   now.Format(time.RFC3339),
	}
	critical := []string{headerScheme}
	add := func(name string, value any) {
		header[name] = value
		critical = append(critical, name)
	}
	if request.ExpiryDurationInSeconds != 0 {
		expiry := now.Add(time.Duration(request.ExpiryDurationInSeconds) * time.Second)
		add(headerExpiry, expiry.Format(time.RFC3339))
	}
	if name := request.PluginConfig["verificationPlugin"]; name != "" {
		add(headerPlugin, name)
	}
	if least := request.PluginConfig["verificationPluginMinVersion"]; least != "" {
		add(headerPluginMinVersion, least)
	}
	for name, value := range withPrefix("attribute.", request.PluginConfig) {
		add(name, value)
	}
	header["crit"] = critical
	return header
}

// withPrefix returns the members of config whose names start with prefix, less the prefix.
func withPrefix(prefix string, config map[string]string) map[string]string {
	found := map[string]string{}
	for name, value := range config {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			found[rest] = value
		}
	}
	return found
}
