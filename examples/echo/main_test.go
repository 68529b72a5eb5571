package main

import (
	"testing"

	"github.com/wcluster/wcluster/host"
	"github.com/wcluster/wcluster/internal/hosttest"
)

func TestMain(m *testing.M) {
	host.Init()
	hosttest.ProgramMain(m, main)
}

func TestTheMessageComesBack(t *testing.T) {
	p := hosttest.StartProgram(t, "-module", hosttest.Guest(t, "testdata/guests/echo-messages/echo-messages.wasm"))
	p.Says("worker 1: echo:hi there")
	p.Ends()
}
