package main

import (
	"context"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"
)

// Configuration for signing: "dir" and "keySpec"; see openKey.

func (p frameworkPlugin) DescribeKey(_ context.Context, request *plugin.DescribeKeyRequest) (*plugin.DescribeKeyResponse, error) {
	key, err := openKey(request.KeyID, request.PluginConfig)
	if err != nil {
		return nil, err
	}
	return &plugin.DescribeKeyResponse{KeyID: request.KeyID, KeySpec: key.spec}, nil
}

func (p frameworkPlugin) GenerateSignature(_ context.Context, request *plugin.GenerateSignatureRequest) (*plugin.GenerateSignatureResponse, error) {
	key, err := openKey(request.KeyID, request.PluginConfig)
	if err != nil {
		return nil, err
	}
	if request.KeySpec != key.spec {
		return nil, plugin.NewValidationErrorf("key %q is %s, not %s", request.KeyID, key.spec, request.KeySpec)
	}
	signature, err := key.sign(request.Payload)
	if err != nil {
		return nil, err
	}
	return &plugin.GenerateSignatureResponse{
		KeyID:            request.KeyID,
		Signature:        signature,
		SigningAlgorithm: key.algorithm.name,
		CertificateChain: key.chain,
	}, nil
}
