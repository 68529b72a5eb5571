package master

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/wcluster/wcluster/abi"
)

func TestSettingsArePermanent(t *testing.T) {
	c := New()
	defer c.Close()
	r := record(c)
	s := Settings{Exec: "app.wasm", Args: []string{"a"}, Stdout: os.Stderr}
	if err := c.SetupMaster(s); err != nil {
		t.Fatal(err)
	}
	s.CPUs = runtime.NumCPU() // the default, spelled out: the same settings
	if err := c.SetupMaster(s); err != nil {
		t.Errorf("the same settings again: %v", err)
	}
	s.Args[0] = "b"
	if err := c.SetupMaster(s); !errors.Is(err, ErrSetup) {
		t.Errorf("other settings: %v", err)
	}
	if got := c.Settings(); got.Args[0] != "a" || got.GracefulTimeout != defaultGracefulTimeout || got.MaxMessage != abi.DefaultMaxMessage {
		t.Errorf("settings %+v", got)
	}
	r.event(t, EventSetup, 1)
	if got := r.lines(); len(got) != 1 {
		t.Errorf("events %v", got)
	}
	for _, bad := range []Settings{
		{MaxMessage: -1},
		{MaxMessage: abi.MaxMessageLimit + 1},
		{GracefulTimeout: -1},
		{CPUs: -1},
		{Env: []string{"A"}},
		{Args: []string{"\x00"}},
		{Listen: make([]Listener, abi.MaxPreopens+1)},
		{Listen: []Listener{{Name: "a:b"}}},
		{Listen: []Listener{{Address: tcp(80)}, {Address: tcp(80)}}},
	} {
		if err := New().SetupMaster(bad); err == nil {
			t.Errorf("settings %+v were taken", bad)
		}
	}
}

func TestAHostProcessCannotBeAMaster(t *testing.T) {
	t.Setenv(roleVariable, roleWorker)
	c := New()
	if err := c.SetupMaster(Settings{}); err == nil || !strings.Contains(err.Error(), "host.Init()") {
		t.Errorf("setup in a worker: %v", err)
	}
	if _, err := c.Fork(); err == nil {
		t.Error("fork in a worker")
	}
}
