package main

import (
	"io"
	"net/http/httptest"
	"testing"
)

func TestHandler(t *testing.T) {
	server := httptest.NewServer(handler("7"))
	defer server.Close()
	for _, path := range []string{"/", "/slow"} {
		r, err := server.Client().Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || string(body) != "hello from worker 7\n" {
			t.Errorf("%s answers %q, %v", path, body, err)
		}
		if got := r.Header.Get("X-Worker"); got != "7" {
			t.Errorf("%s answers X-Worker: %q", path, got)
		}
	}
}
