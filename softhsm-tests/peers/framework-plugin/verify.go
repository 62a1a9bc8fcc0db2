package main

import (
	"context"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"
)

// VerifySignature answers what its configuration says:
//
//	identity, revocation   "pass" (also when absent), "fail", or "omit" for no result at all
//	reason                 of a failure
//	processed              "all" attributes (also when absent), or "none"
func (p frameworkPlugin) VerifySignature(_ context.Context, request *plugin.VerifySignatureRequest) (*plugin.VerifySignatureResponse, error) {
	answers := map[plugin.Capability]string{
		plugin.CapabilityTrustedIdentityVerifier: request.PluginConfig["identity"],
		plugin.CapabilityRevocationCheckVerifier: request.PluginConfig["revocation"],
	}
	response := &plugin.VerifySignatureResponse{
		VerificationResults: map[plugin.Capability]*plugin.VerificationResult{},
		ProcessedAttributes: []any{},
	}
	for _, asked := range request.TrustPolicy.SignatureVerification {
		answer, known := answers[asked]
		if !known {
			return nil, plugin.NewValidationErrorf("unknown capability %q", asked)
		}
		switch answer {
		case "", "pass":
			response.VerificationResults[asked] = &plugin.VerificationResult{Success: true}
		case "fail":
			response.VerificationResults[asked] = &plugin.VerificationResult{Reason: request.PluginConfig["reason"]}
		case "omit":
		default:
			return nil, plugin.NewValidationErrorf("%q is neither pass, fail nor omit", answer)
		}
	}
	if request.PluginConfig["processed"] != "none" {
		for _, name := range request.Signature.UnprocessedAttributes {
			response.ProcessedAttributes = append(response.ProcessedAttributes, name)
		}
	}
	return response, nil
}
