package main

import (
	"syscall"
	"testing"

	"github.com/wcluster/wcluster/host"
	"github.com/wcluster/wcluster/internal/hosttest"
)

func TestMain(m *testing.M) {
	host.Init()
	hosttest.ProgramMain(m, main)
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	cases := []struct{ name, guest, after, says string }{
		{"a guest that never listens", "testdata/guests/obey/obey.wasm", "10ms", "Something must be wrong"},
		{"a guest that dies", "testdata/guests/exit42/exit42.wasm", "1h", "Something must be wrong"},
		{"a guest that listens", "guests/hello-c/hello.wasm", "1h", "A worker is now connected to 127.0.0.1:"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			p := hosttest.StartProgram(t, "-listen", "tcp://127.0.0.1:0", "-after", tc.after, "-module", hosttest.Guest(t, tc.guest))
			p.Says(tc.says)
			p.Process.Signal(syscall.SIGINT)
			p.Ends()
		})
	}
}
