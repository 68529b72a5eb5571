package main

import (
	"strings"
	"testing"

	"github.com/wcluster/wcluster/host"
	"github.com/wcluster/wcluster/internal/hosttest"
)

func TestMain(m *testing.M) {
	host.Init()
	hosttest.ProgramMain(m, main)
}

func TestEveryWorkerHearsTheAnnouncement(t *testing.T) {
	p := hosttest.StartProgram(t, "-n", "3", "-module", hosttest.Guest(t, "testdata/guests/echo-messages/echo-messages.wasm"))
	heard := map[string]bool{}
	for range 3 {
		worker, _, _ := strings.Cut(p.Says(": echo:big announcement to all workers"), ":")
		heard[worker] = true
	}
	if len(heard) != 3 {
		t.Errorf("it was heard by %v", heard)
	}
	p.Ends()
}
