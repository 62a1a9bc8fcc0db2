// A registry for tests: the in-memory registry of go-containerregistry with the referrers API, and
// around it what tests ask for: authentication, TLS, slowness, and a record of every request.
//
// One JSON object a line goes to standard output for each request, before the answer is sent: see
// request in record.go. Everything is kept in memory, bodies included: for tests only.
package main

import (
	"flag"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	address := flag.String("address", "127.0.0.1:5000", "`host:port` to listen on")
	certificate := flag.String("tls-cert", "", "PEM `file` of the certificate; speaks TLS when given")
	key := flag.String("tls-key", "", "PEM `file` of its key")
	mode := flag.String("referrers", "right", "referrers API: right; raw, as the library answers; off")
	user := flag.String("user", "", "user `name` to ask for")
	password := flag.String("password", "", "password of the user, and a refresh token of the token endpoint")
	token := flag.Bool("token", false, "bearer tokens instead of basic authentication")
	realm := flag.String("realm", "", "`URL` of the token endpoint to tell, when it is not this registry's /token")
	latency := flag.Duration("latency", 0, "time that each request takes at least")
	writeDelay := flag.Duration("write-delay", 0, "a manifest is written or deleted after a random part of this time")
	flag.Parse()
	if flag.NArg() > 0 || (*mode != "right" && *mode != "raw" && *mode != "off") {
		flag.Usage()
		os.Exit(2)
	}

	var handler http.Handler = registry.New(
		registry.Logger(log.New(io.Discard, "", 0)),
		registry.WithReferrersSupport(*mode != "off"),
	)
	if *mode == "right" {
		handler = newReferrers(handler)
	}
	handler = delayWrites(handler, *writeDelay)
	switch {
	case *token:
		handler = newTokens(handler, credentials{*user, *password}, *realm)
	case *user != "":
		handler = basic(handler, credentials{*user, *password})
	}
	handler = record(handler, os.Stdout, *latency)

	server := &http.Server{Addr: *address, Handler: handler, ReadHeaderTimeout: time.Minute}
	var err error
	if *certificate != "" {
		err = server.ListenAndServeTLS(*certificate, *key)
	} else {
		err = server.ListenAndServe()
	}
	log.Fatal(err)
}

// delayWrites lets a manifest be written or deleted only after a random part of limit.
func delayWrites(next http.Handler, limit time.Duration) http.Handler {
	if limit <= 0 {
		return next
	}
	return http.HandlerFunc(func(answer http.ResponseWriter, asked *http.Request) {
		if _, _, ok := manifestPath(asked.URL.Path); ok && isWrite(asked.Method) {
			time.Sleep(rand.N(limit))
		}
		next.ServeHTTP(answer, asked)
	})
}

func isWrite(method string) bool {
	return method != http.MethodGet && method != http.MethodHead
}
