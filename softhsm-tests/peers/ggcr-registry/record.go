package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// A request as it is recorded. Times are microseconds since the start of the registry.
type request struct {
	Connection    string `json:"connection"` // address of the client's end
	Method        string `json:"method"`
	Path          string `json:"path"`
	Query         string `json:"query"`
	UserAgent     string `json:"userAgent"`
	Authorization string `json:"authorization"` // the scheme alone, "" for none
	Status        int    `json:"status"`
	Start         int64  `json:"start"`
	End           int64  `json:"end"`
}

// record answers after latency at least and writes each request to log before its answer is sent,
// so that a client that has an answer finds all its requests recorded.
func record(next http.Handler, to io.Writer, latency time.Duration) http.Handler {
	begin := time.Now()
	var mutex sync.Mutex
	lines := json.NewEncoder(to)
	lines.SetEscapeHTML(false)
	return http.HandlerFunc(func(answer http.ResponseWriter, asked *http.Request) {
		start := time.Now()
		held := hold(next, asked)
		time.Sleep(latency - time.Since(start))
		scheme, _, _ := strings.Cut(asked.Header.Get("Authorization"), " ")
		line := request{
			Connection:    asked.RemoteAddr,
			Method:        asked.Method,
			Path:          asked.URL.Path,
			Query:         asked.URL.RawQuery,
			UserAgent:     asked.UserAgent(),
			Authorization: scheme,
			Status:        held.Code,
			Start:         start.Sub(begin).Microseconds(),
			End:           time.Since(begin).Microseconds(),
		}
		mutex.Lock()
		err := lines.Encode(line)
		mutex.Unlock()
		if err != nil {
			log.Fatal(err)
		}
		send(answer, held)
	})
}

// hold lets next answer into memory.
func hold(next http.Handler, asked *http.Request) *httptest.ResponseRecorder {
	held := httptest.NewRecorder()
	next.ServeHTTP(held, asked)
	return held
}

// send passes a held answer on. A client that has gone is no fault of ours.
func send(answer http.ResponseWriter, held *httptest.ResponseRecorder) {
	for name, values := range held.Header() {
		answer.Header()[name] = values
	}
	answer.WriteHeader(held.Code)
	_, _ = answer.Write(held.Body.Bytes())
}
