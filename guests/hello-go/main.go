// Hello is an ordinary net/http server. It imports nothing of wcluster's: its listening socket is descriptor 3, as
// systemd, wasmtime and wcluster pass it.
//
//	GOOS=wasip1 GOARCH=wasm go build -o hello.wasm .
//	wcluster run hello.wasm -n 4 --listen tcp://127.0.0.1:8000
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"
)

// firstPreopened is the descriptor of the first listening socket.
const firstPreopened = 3

// slowPause is how long /slow is silent in the middle of its answer.
const slowPause = 500 * time.Millisecond

func main() {
	l, err := net.FileListener(os.NewFile(firstPreopened, "listener"))
	if err != nil {
		log.Fatalf("listen on descriptor %d: %v", firstPreopened, err)
	}
	log.Fatal(http.Serve(l, handler(worker())))
}

// worker is the number that wcluster gave this process, 0 without wcluster.
func worker() string {
	if id := os.Getenv("WCLUSTER_WORKER_ID"); id != "" {
		return id
	}
	return "0"
}

func handler(worker string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Worker", worker)
		fmt.Fprintf(w, "hello from worker %s\n", worker)
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Worker", worker)
		slow(w, r, worker)
	})
	return mux
}

// slow streams: half of the answer, a pause, the rest. A graceful stop has to wait for it.
func slow(w http.ResponseWriter, r *http.Request, worker string) {
	io.WriteString(w, "hello from ")
	if err := http.NewResponseController(w).Flush(); err != nil {
		return
	}
	select {
	case <-time.After(slowPause):
		fmt.Fprintf(w, "worker %s\n", worker)
	case <-r.Context().Done():
	}
}
