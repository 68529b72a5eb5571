package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/wcluster/wcluster/host"
	"github.com/wcluster/wcluster/internal/hosttest"
)

func TestMain(m *testing.M) {
	host.Init()
	hosttest.ProgramMain(m, main)
}

func TestAWorkerMayFinishForAWhile(t *testing.T) {
	cases := []struct {
		name, after string
		hold        bool
		says        string
	}{
		{"a connection that never ends", "50ms", true, "worker 1: signal SIGTERM"},
		{"no connection", "1h", false, "worker 1: exit code 0"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			p := hosttest.StartProgram(t, "-listen", "tcp://127.0.0.1:0", "-after", tc.after,
				"-module", hosttest.Guest(t, "testdata/guests/moody/moody.wasm"))
			_, address, _ := strings.Cut(p.Says(" listens on "), " listens on ")
			if tc.hold {
				conn, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				fmt.Fprint(conn, "GET /hold HTTP/1.1\r\n\r\n")
				// The guest takes one request after the other: when this one is answered, it holds the first.
				answer, err := http.Get("http://" + address + "/")
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
			}
			p.Process.Signal(syscall.SIGTERM)
			p.Says(tc.says)
			p.Ends()
		})
	}
}
