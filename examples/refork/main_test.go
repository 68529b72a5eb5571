package main

import (
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

func TestADeadWorkerIsForkedAnew(t *testing.T) {
	module := hosttest.Guest(t, "testdata/guests/moody/moody.wasm")
	p := hosttest.StartProgram(t, "-n", "1", "-listen", "tcp://127.0.0.1:0", "-module", module)
	_, address, _ := strings.Cut(p.Says("worker 1 listens on "), " listens on ")
	if answer, err := http.Get("http://" + address + "/exit"); err == nil {
		answer.Body.Close()
		t.Error("a guest that exits has answered")
	}
	p.Says("worker 1 died (exit code 7). restarting...")
	p.Says("worker 2 listens on " + address)
	p.Process.Signal(syscall.SIGTERM)
	p.Ends()
}
