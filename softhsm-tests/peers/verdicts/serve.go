package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
)

// longest is the longest case, in bytes.
const longest = 1 << 20

// serve answers cases until there are no more. A case is one byte for its kind ('j' JWS, 'c' COSE,
// 'p' trust policy for artifacts), its length in four bytes, big-endian, and itself. The answer is one byte, 1 for accepted and 0 for refused, the length of the error's
// text likewise, and the text.
func serve(in io.Reader, out io.Writer) error {
	reader, writer := bufio.NewReader(in), bufio.NewWriter(out)
	for {
		var head [5]byte
		if _, err := io.ReadFull(reader, head[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		length := binary.BigEndian.Uint32(head[1:])
		if length > longest {
			return fmt.Errorf("a case of %d bytes", length)
		}
		content := make([]byte, length)
		if _, err := io.ReadFull(reader, content); err != nil {
			return err
		}
		head[0], content = answer(head[0], content)
		binary.BigEndian.PutUint32(head[1:], uint32(len(content)))
		writer.Write(head[:])
		writer.Write(content)
		if err := writer.Flush(); err != nil {
			return err
		}
	}
}

func answer(kind byte, content []byte) (good byte, text []byte) {
	defer func() {
		if fault := recover(); fault != nil {
			good, text = 0, fmt.Appendf(nil, "panic: %v", fault)
		}
	}()
	if err := checkKind(kind, content); err != nil {
		return 0, []byte(err.Error())
	}
	return 1, nil
}

func checkKind(kind byte, content []byte) error {
	switch kind {
	case 'j':
		return checkEnvelope(jws.MediaTypeEnvelope, content)
	case 'c':
		return checkEnvelope(cose.MediaTypeEnvelope, content)
	case 'p':
		return checkPolicy(content)
	default:
		return fmt.Errorf("no kind %q", kind)
	}
}

// checkPolicy reads a document as notation reads it from its file.
func checkPolicy(content []byte) error {
	var document trustpolicy.Document
	if err := json.NewDecoder(bytes.NewReader(content)).Decode(&document); err != nil {
		return err
	}
	return document.Validate()
}
