// A signing plugin for notation and hardsign, on nothing but Go's standard library. The key id is
// the path of a private key in PEM; plugin config: cert-chain, a PEM file with the leaf first.
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
)

// The file must be called notation-go-example.
var metadata = json.RawMessage(`{"name": "go-example", "version": "1.0.0",
	"description": "Signs with keys in files, an example",
	"url": "https://example.com/notation-go-example", "supportedContractVersions": ["1.0"],
	"capabilities": ["SIGNATURE_GENERATOR.RAW", "HARDSIGN.DIGEST", "HARDSIGN.SESSION"]}`)

var hashes = map[string]crypto.Hash{
	"RSA-2048": crypto.SHA256, "RSA-3072": crypto.SHA384, "RSA-4096": crypto.SHA512,
	"EC-256": crypto.SHA256, "EC-384": crypto.SHA384, "EC-521": crypto.SHA512,
}

// request has the members of all requests; []byte is base64 in JSON.
type request struct {
	ContractVersion, KeyID, HashAlgorithm string
	PluginConfig                          map[string]string
	Payload, Digest                       []byte
}

// object is an answer; one that is used as an error is an error answer.
type object map[string]any

func (o object) Error() string { return fmt.Sprint(o["errorMessage"]) }

func refuse(code, format string, arguments ...any) error {
	return object{"errorCode": code, "errorMessage": fmt.Sprintf(format, arguments...)}
}

type key struct {
	tls.Certificate
	spec string
	hash crypto.Hash
}

func open(r request) (k key, err error) {
	if r.ContractVersion != "1.0" {
		return k, refuse("UNSUPPORTED_CONTRACT_VERSION", "this plugin speaks contract 1.0")
	}
	if k.Certificate, err = tls.LoadX509KeyPair(r.PluginConfig["cert-chain"], r.KeyID); err != nil {
		return k, refuse("VALIDATION_ERROR", "key %q with cert-chain: %v", r.KeyID, err)
	}
	switch private := k.PrivateKey.(type) {
	case *rsa.PrivateKey:
		k.spec = fmt.Sprintf("RSA-%d", private.N.BitLen())
	case *ecdsa.PrivateKey:
		k.spec = fmt.Sprintf("EC-%d", private.Params().BitSize)
	}
	if k.hash = hashes[k.spec]; k.hash == 0 {
		return k, refuse("VALIDATION_ERROR", "key %q is of no kind that can be used", r.KeyID)
	}
	return k, nil
}

func (k key) sign(r request) ([]byte, error) {
	if r.HashAlgorithm != k.hash.String() || len(r.Digest) != k.hash.Size() {
		return nil, refuse("VALIDATION_ERROR", "%s signs digests of %s", k.spec, k.hash)
	}
	if private, ok := k.PrivateKey.(*rsa.PrivateKey); ok {
		salt := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
		return rsa.SignPSS(rand.Reader, private, k.hash, r.Digest, salt)
	}
	private := k.PrivateKey.(*ecdsa.PrivateKey)
	x, y, err := ecdsa.Sign(rand.Reader, private, r.Digest)
	if err != nil {
		return nil, refuse("ERROR", "%v", err)
	}
	size := (private.Params().BitSize + 7) / 8 // r and s are each as long as the curve's field
	return append(x.FillBytes(make([]byte, size)), y.FillBytes(make([]byte, size))...), nil
}

func oneShot(command string) (any, error) {
	var r request
	if err := json.NewDecoder(os.Stdin).Decode(&r); err != nil {
		return nil, refuse("VALIDATION_ERROR", "the request is no JSON: %v", err)
	}
	if command == "get-plugin-metadata" {
		return metadata, nil
	}
	k, err := open(r)
	if err != nil || command == "describe-key" {
		return object{"keyId": r.KeyID, "keySpec": k.spec}, err
	}
	if command == "generate-signature" {
		hash := k.hash.New()
		hash.Write(r.Payload)
		r.Digest = hash.Sum(nil)
	} else if command != "sign-digest" {
		return nil, refuse("VALIDATION_ERROR", "there is no command %q", command)
	}
	signature, err := k.sign(r)
	algorithm := map[byte]string{'R': "RSASSA-PSS-", 'E': "ECDSA-"}[k.spec[0]] + k.hash.String()
	return object{"keyId": r.KeyID, "signature": signature, "signingAlgorithm": algorithm,
		"certificateChain": k.Certificate.Certificate}, err
}

// session has a line for each request and each answer; the end of stdin is its end.
func session() {
	signal.Ignore(os.Interrupt) // Ctrl-C is the host's: it closes stdin
	k, failure := key{}, error(nil)
	for lines, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout); ; {
		var asked struct {
			ID      uint64
			Command string
			Request request
		}
		if lines.Decode(&asked) != nil {
			return
		}
		answer, err := any(nil), failure
		switch {
		case asked.Command == "get-plugin-metadata":
			answer, err = metadata, nil
		case failure != nil: // nothing is tried again
		case asked.Command == "open" && k.hash == 0: // the login
			k, failure = open(asked.Request)
			answer, err = object{"keyId": asked.Request.KeyID, "keySpec": k.spec, "maxInFlight": 1,
				"certificateChain": k.Certificate.Certificate, "interaction": "none"}, failure
		case asked.Command == "sign-digest" && k.hash != 0:
			signature, refused := k.sign(asked.Request)
			answer, err = object{"signature": signature}, refused
		default:
			err = refuse("VALIDATION_ERROR", "%q can't be done in this session now", asked.Command)
		}
		if err != nil {
			answers.Encode(object{"id": asked.ID, "error": err})
		} else {
			answers.Encode(object{"id": asked.ID, "response": answer})
		}
	}
}

func main() {
	command := os.Args[len(os.Args)-1]
	if command == "session" {
		session()
	} else if answer, err := oneShot(command); err != nil {
		json.NewEncoder(os.Stderr).Encode(err)
		os.Exit(1)
	} else {
		json.NewEncoder(os.Stdout).Encode(answer)
	}
}
