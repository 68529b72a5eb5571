package abi

import (
	"slices"
	"testing"
)

func TestEveryKindHasARule(t *testing.T) {
	names := map[string]Kind{}
	n := 0
	for k, name := range Kinds {
		n++
		r := k.rule()
		if r == nil || r.name == "" || r.from == 0 {
			t.Errorf("kind %d has the rule %+v", k, r)
			continue
		}
		if other, twice := names[name]; twice {
			t.Errorf("kinds %d and %d are both called %s", other, k, name)
		}
		names[name] = k
		if r.fds > MaxFDs {
			t.Errorf("%s may have %d descriptors, but a sendmsg carries %d", name, r.fds, MaxFDs)
		}
	}
	if n != int(kindEnd)-1 {
		t.Errorf("Kinds yields %d, want %d", n, kindEnd-1)
	}
}

func TestNamesOfWhatDoesNotExist(t *testing.T) {
	for _, tt := range []struct {
		got  interface{ String() string }
		want string
	}{
		{Kind(0), "kind 0"},
		{kindEnd, "kind 23"},
		{Kind(255), "kind 255"},
		{phaseEnd, "no phase"},
		{Master, "master"},
		{Worker, "worker"},
		{Master | Worker, "both"},
	} {
		if tt.got.String() != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}

func TestKindsAndPhasesCanStopEarly(t *testing.T) {
	for k := range Kinds {
		if k == KindConfig {
			break
		}
	}
	for p := range Phases {
		if p == PhaseGreeted {
			break
		}
	}
}

func TestMaxFrameFDs(t *testing.T) {
	if got := MaxFrameFDs(Worker); got != 0 {
		t.Errorf("a worker's frame carries up to %d descriptors, want none", got)
	}
	if got := MaxFrameFDs(Master); got != ConfigFDs+MaxPreopens {
		t.Errorf("a master's frame carries up to %d descriptors, want %d", got, ConfigFDs+MaxPreopens)
	}
}

func TestPermitted(t *testing.T) {
	atWork := []Kind{KindListen, KindListening, KindMessage, KindLeaving, KindPong, KindFault, KindDrained, KindRequest, KindPost}
	want := map[Phase][]Kind{
		PhaseGreeting:      {KindHello},
		PhaseGreeted:       nil,
		PhaseStarting:      {KindOnline, KindFault},
		PhaseOnline:        atWork,
		PhaseDisconnecting: atWork,
		PhaseCompiling:     {KindCompiled, KindFault},
		PhaseProbing:       {KindProbed, KindFault},
	}
	for p := range 256 {
		for k := range 256 {
			phase, kind := Phase(p), Kind(k)
			if got := Permitted(phase, kind); got != slices.Contains(want[phase], kind) {
				t.Errorf("%v in phase %v (%d): permitted is %v", kind, phase, p, got)
			}
		}
	}
}

// What a worker never sends needs no phase, and what it sends needs one.
func TestEveryKindOfAWorkerIsPermittedSomewhere(t *testing.T) {
	for k, name := range Kinds {
		somewhere := false
		for p := range Phases {
			somewhere = somewhere || Permitted(p, k)
		}
		if sends := k.rule().from&Worker != 0; sends != somewhere {
			t.Errorf("%s: a worker sends it: %v; permitted in some phase: %v", name, sends, somewhere)
		}
	}
}
