// Command go-http is the native Go peer: the hello server over net/http, in one process on GOMAXPROCS cores.
//
//	GOMAXPROCS=2 go-http 127.0.0.1:8000
package main

import (
	"io"
	"log"
	"net/http"
	"os"
)

// body is as long as what the other servers answer.
const body = "hello from worker 1\n"

func main() {
	if len(os.Args) != 2 {
		log.Fatalf("usage: %s HOST:PORT", os.Args[0])
	}
	log.Fatal(http.ListenAndServe(os.Args[1], http.HandlerFunc(hello)))
}

func hello(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("X-Worker", "1")
	io.WriteString(w, body)
}
