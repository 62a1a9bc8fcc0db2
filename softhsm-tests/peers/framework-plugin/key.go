package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"
)

// algorithm is a row of the algorithm selection table of the Notary Project signature specification.
type algorithm struct {
	bits int            // of the RSA modulus; 0 for ECDSA
	ec   elliptic.Curve // nil for RSA
	hash crypto.Hash
	name plugin.SignatureAlgorithm
	jws  string
}

var algorithms = map[plugin.KeySpec]algorithm{
	plugin.KeySpecRSA2048: {2048, nil, crypto.SHA256, plugin.SignatureAlgorithmRSASSA_PSS_SHA256, "PS256"},
	plugin.KeySpecRSA3072: {3072, nil, crypto.SHA384, plugin.SignatureAlgorithmRSASSA_PSS_SHA384, "PS384"},
	plugin.KeySpecRSA4096: {4096, nil, crypto.SHA512, plugin.SignatureAlgorithmRSASSA_PSS_SHA512, "PS512"},
	plugin.KeySpecEC256:   {0, elliptic.P256(), crypto.SHA256, plugin.SignatureAlgorithmECDSA_SHA256, "ES256"},
	plugin.KeySpecEC384:   {0, elliptic.P384(), crypto.SHA384, plugin.SignatureAlgorithmECDSA_SHA384, "ES384"},
	plugin.KeySpecEC521:   {0, elliptic.P521(), crypto.SHA512, plugin.SignatureAlgorithmECDSA_SHA512, "ES512"},
}

// signingKey is a key of this plugin with its certificates, leaf first.
type signingKey struct {
	spec      plugin.KeySpec
	algorithm algorithm
	private   crypto.Signer
	chain     [][]byte
}

// openKey reads the key keyID below the configured directory "dir", making it first where it is
// absent. Its files are <dir>/<keyID>/key.pem, chain.pem (leaf, root) and root.pem (to be trusted).
// "keySpec" is the kind of key to make: EC-256 unless told otherwise.
func openKey(keyID string, config map[string]string) (*signingKey, error) {
	if !filepath.IsAbs(config["dir"]) {
		return nil, plugin.NewValidationError(`plugin config "dir" must be an absolute path`)
	}
	if keyID == "." || keyID != filepath.Base(keyID) || !filepath.IsLocal(keyID) {
		return nil, plugin.NewValidationErrorf("key id %q is not a file name", keyID)
	}
	spec := plugin.KeySpecEC256
	if asked := config["keySpec"]; asked != "" {
		spec = plugin.KeySpec(asked)
	}
	algorithm, known := algorithms[spec]
	if !known {
		return nil, plugin.NewValidationErrorf("unknown key spec %q", spec)
	}
	directory := filepath.Join(config["dir"], keyID)
	if _, err := os.Stat(directory); errors.Is(err, os.ErrNotExist) {
		if err := makeKey(directory, keyID, algorithm); err != nil {
			return nil, err
		}
	}
	return readKey(directory)
}

func readKey(directory string) (*signingKey, error) {
	encoded, err := readPEM(filepath.Join(directory, "key.pem"))
	if err != nil {
		return nil, err
	}
	private, err := x509.ParsePKCS8PrivateKey(encoded[0])
	if err != nil {
		return nil, err
	}
	chain, err := readPEM(filepath.Join(directory, "chain.pem"))
	if err != nil {
		return nil, err
	}
	for spec, algorithm := range algorithms {
		if algorithm.fits(private) {
			return &signingKey{spec, algorithm, private.(crypto.Signer), chain}, nil
		}
	}
	return nil, fmt.Errorf("key of type %T in %s fits no key spec", private, directory)
}

// makeKey lays out a key beside its place and moves it there, so that of two processes one wins.
func makeKey(directory, keyID string, algorithm algorithm) error {
	if err := os.MkdirAll(filepath.Dir(directory), 0o700); err != nil {
		return err
	}
	beside, err := os.MkdirTemp(filepath.Dir(directory), ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(beside)
	leafKey, err := algorithm.generate()
	if err != nil {
		return err
	}
	leaf, root, err := certify(keyID, leafKey.Public())
	if err != nil {
		return err
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		return err
	}
	for file, blocks := range map[string][]*pem.Block{
		"key.pem":   {{Type: "PRIVATE KEY", Bytes: encoded}},
		"chain.pem": {{Type: "CERTIFICATE", Bytes: leaf}, {Type: "CERTIFICATE", Bytes: root}},
		"root.pem":  {{Type: "CERTIFICATE", Bytes: root}},
	} {
		var text []byte
		for _, block := range blocks {
			text = append(text, pem.EncodeToMemory(block)...)
		}
		if err := os.WriteFile(filepath.Join(beside, file), text, 0o600); err != nil {
			return err
		}
	}
	if err := os.Rename(beside, directory); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// certify makes a root, whose key is thrown away, and a code signing leaf for public.
func certify(keyID string, public crypto.PublicKey) (leaf, root []byte, err error) {
	rootKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	issuer := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               subject(keyID + " root"),
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(0, 0, 2),
		BasicConstraintsValid: true,
		IsCA:                  true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	if root, err = x509.CreateCertificate(rand.Reader, issuer, issuer, rootKey.Public(), rootKey); err != nil {
		return nil, nil, err
	}
	if issuer, err = x509.ParseCertificate(root); err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(2),
		Subject:               subject(keyID),
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(0, 0, 1),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	leaf, err = x509.CreateCertificate(rand.Reader, template, issuer, public, rootKey)
	return leaf, root, err
}

func subject(commonName string) pkix.Name {
	return pkix.Name{
		Country:      []string{"CH"},
		Province:     []string{"ZH"},
		Organization: []string{"Hardsign tests"},
		CommonName:   commonName,
	}
}

func readPEM(file string) ([][]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var blocks [][]byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		blocks = append(blocks, block.Bytes)
	}
	if len(blocks) == 0 {
		return nil, fmt.Errorf("no PEM block in %s", file)
	}
	return blocks, nil
}

func (a algorithm) generate() (crypto.Signer, error) {
	if a.ec != nil {
		return ecdsa.GenerateKey(a.ec, rand.Reader)
	}
	return rsa.GenerateKey(rand.Reader, a.bits)
}

func (a algorithm) fits(private any) bool {
	switch private := private.(type) {
	case *rsa.PrivateKey:
		return private.N.BitLen() == a.bits
	case *ecdsa.PrivateKey:
		return private.Curve == a.ec
	default:
		return false
	}
}

// sign hashes message and signs it: RSASSA-PSS with a salt as long as the hash, or ECDSA as r||s.
func (k *signingKey) sign(message []byte) ([]byte, error) {
	hash := k.algorithm.hash.New()
	hash.Write(message)
	digest := hash.Sum(nil)
	switch private := k.private.(type) {
	case *rsa.PrivateKey:
		options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
		return rsa.SignPSS(rand.Reader, private, k.algorithm.hash, digest, options)
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, private, digest)
		if err != nil {
			return nil, err
		}
		width := (private.Curve.Params().BitSize + 7) / 8
		signature := make([]byte, 2*width)
		r.FillBytes(signature[:width])
		s.FillBytes(signature[width:])
		return signature, nil
	default:
		return nil, fmt.Errorf("key of type %T", private)
	}
}
