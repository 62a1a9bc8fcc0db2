// A signing and verification plugin for tests, on the Go plugin framework for notation.
//
// What it can do follows from the name it is installed under, since a host learns capabilities
// before it sends a configuration. The words of the name, parted by "-":
//
//	envelope    SIGNATURE_GENERATOR.ENVELOPE in place of SIGNATURE_GENERATOR.RAW
//	verifier    no signature generator at all
//	identity    SIGNATURE_VERIFIER.TRUSTED_IDENTITY
//	revocation  SIGNATURE_VERIFIER.REVOCATION_CHECK
//
// So notation-framework signs raw, and notation-framework-envelope-identity does both.
// The plugin configuration is described in sign.go, envelope.go and verify.go.
//
// Its keys are made on demand and lie unprotected in a file: for tests only.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/notaryproject/notation-plugin-framework-go/cli"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"
)

const version = "1.2.0"

type frameworkPlugin struct {
	name string
}

func main() {
	name := strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")
	executable, err := cli.New(frameworkPlugin{strings.TrimPrefix(name, plugin.BinaryPrefix)})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	executable.Execute(context.Background(), os.Args)
}

func (p frameworkPlugin) GetMetadata(context.Context, *plugin.GetMetadataRequest) (*plugin.GetMetadataResponse, error) {
	return &plugin.GetMetadataResponse{
		Name:                      p.name,
		Description:               "Signs and verifies for tests with keys made on demand",
		Version:                   version,
		URL:                       "https://github.com/hardsign/hardsign",
		SupportedContractVersions: []string{plugin.ContractVersion},
		Capabilities:              p.capabilities(),
	}, nil
}

func (p frameworkPlugin) capabilities() []plugin.Capability {
	words := strings.Split(p.name, "-")
	var capabilities []plugin.Capability
	switch {
	case slices.Contains(words, "verifier"):
	case slices.Contains(words, "envelope"):
		capabilities = append(capabilities, plugin.CapabilityEnvelopeGenerator)
	default:
		capabilities = append(capabilities, plugin.CapabilitySignatureGenerator)
	}
	if slices.Contains(words, "identity") {
		capabilities = append(capabilities, plugin.CapabilityTrustedIdentityVerifier)
	}
	if slices.Contains(words, "revocation") {
		capabilities = append(capabilities, plugin.CapabilityRevocationCheckVerifier)
	}
	return capabilities
}
