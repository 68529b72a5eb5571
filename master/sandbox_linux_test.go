package master

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/wcluster/wcluster/abi"
)

func sandboxed(level abi.SandboxLevel) func(*Settings) {
	return func(s *Settings) { s.Sandbox = level }
}

// needNamespaces skips where this process cannot make them: then they are what is missing.
func needNamespaces(t *testing.T, c *Cluster) {
	t.Helper()
	for _, l := range c.Sandbox().Layers {
		if l.Layer == abi.LayerNamespaces && l.Error != "" {
			t.Skipf("no namespaces here: %s", l.Error)
		}
	}
}

func TestStrictNamesTheLayerThatIsMissing(t *testing.T) {
	c := cluster(t, "lacks-landlock", sandboxed(abi.SandboxStrict))
	_, err := c.Prepare(t.Context(), nil)
	var prepare *PrepareError
	if !errors.As(err, &prepare) || prepare.Op != StepSandbox {
		t.Fatalf("prepare: %v", err)
	}
	if strings.Contains(err.Error(), "lacks namespaces") {
		t.Skip("no namespaces here: " + err.Error())
	}
	if got := err.Error(); got != "lock workers down strictly: this host lacks landlock: the kernel has none" {
		t.Errorf("prepare: %q", got)
	}
	if _, err := c.Fork(); !errors.As(err, &prepare) {
		t.Errorf("fork: %v", err)
	}
}

func TestAutoGoesOnWithWhatIsThere(t *testing.T) {
	c := cluster(t, "lacks-landlock", sandboxed(abi.SandboxAuto))
	if _, err := c.Prepare(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	s := c.Sandbox()
	if s.Asked != abi.SandboxAuto || s.Holds != ConfinedPartly || !strings.Contains(s.Missing(), "landlock (the kernel has none)") {
		t.Errorf("%+v, missing %q", s, s.Missing())
	}
	told := c.prepared.sandbox.worker(7)
	if told.Level != abi.SandboxAuto || told.CPUSeconds != 7 || told.Has(abi.LayerLandlock) || !told.Has(abi.LayerSeccomp) {
		t.Errorf("a worker is told %+v", told)
	}
}

func TestStrictDoesWithoutWhatIsNotRequired(t *testing.T) {
	c := cluster(t, "lacks-mdwe", sandboxed(abi.SandboxStrict))
	_, err := c.Prepare(t.Context(), nil)
	if err != nil && strings.Contains(err.Error(), "lacks namespaces") {
		t.Skip("no namespaces here: " + err.Error())
	}
	if s := c.Sandbox(); err != nil || s.Holds != ConfinedFully || !strings.Contains(s.Missing(), "mdwe") {
		t.Errorf("%v, %+v", err, s)
	}
}

func TestAHostThatDoesNotKnowLayersLacksThem(t *testing.T) {
	c := cluster(t, "probe-silent", sandboxed(abi.SandboxAuto))
	if _, err := c.Prepare(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	var names []abi.Layer
	for _, l := range c.Sandbox().Layers {
		names = append(names, l.Layer)
		if l.Layer == abi.LayerSeccomp && l.Error != "the host binary does not know it" {
			t.Errorf("seccomp: %+v", l)
		}
	}
	if !slices.Equal(names, abi.Layers) {
		t.Errorf("layers %v", names)
	}
}

func TestAProbeThatDiesIsExplained(t *testing.T) {
	c := cluster(t, "probe-dies", sandboxed(abi.SandboxAuto))
	_, err := c.Prepare(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "the probe process ended with exit code 2: panic: probe defect") {
		t.Errorf("prepare: %v", err)
	}
}

// The kernel is asked, not the worker.
func TestAWorkerThatIsNotLockedDownIsEnded(t *testing.T) {
	c := cluster(t, "probe-lies", sandboxed(abi.SandboxAuto))
	r := record(c)
	if _, err := c.Prepare(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	needNamespaces(t, c)
	w := fork(t, c)
	e := r.of(t, w, EventExit).Exit
	if e.Fault == nil || e.Fault.Reason != abi.FaultSandbox || !strings.Contains(e.Fault.Text, "is not locked down: thread ") {
		t.Errorf("it ended with %v", e)
	}
	for _, line := range r.lines() {
		if strings.Contains(line, "online") {
			t.Error("it was told to be online")
		}
	}
}

func TestFieldsOfAStatus(t *testing.T) {
	const status = "Name:\tx\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t2\n"
	s := &sandbox{level: abi.SandboxStrict, found: []abi.ProbedLayer{
		{Layer: abi.LayerCapabilities}, {Layer: abi.LayerNoNewPrivs}, {Layer: abi.LayerSeccomp},
	}}
	for _, m := range s.threadMust() {
		if m.field == "CapPrm" {
			continue // absent above
		}
		if got := statusField([]byte(status), m.field); !m.ok(got) {
			t.Errorf("%s is %q", m.field, got)
		}
	}
	for _, bad := range []string{"", "0000000000000001", "x"} {
		if isZeroHex(bad) {
			t.Errorf("%q is no capability", bad)
		}
	}
}

func TestOwnGroupIsFoundWhereverTheTreeIsMounted(t *testing.T) {
	const unified = "25 1 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
	const hybrid = "24 1 0:21 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n25 1 0:22 / /sys/fs/cgroup/unified rw shared:4 - cgroup2 cgroup2 rw\n"
	const inside = "25 1 0:22 /user.slice /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
	for _, tt := range []struct{ name, groups, mounts, want string }{
		{"a unified tree", "0::/user.slice/a.scope\n", unified, "/sys/fs/cgroup/user.slice/a.scope"},
		{"beside the first version", "1:cpu:/\n0::/a.scope\n", hybrid, "/sys/fs/cgroup/unified/a.scope"},
		{"a part of the tree, as in a container", "0::/user.slice/a.scope\n", inside, "/sys/fs/cgroup/a.scope"},
		{"a part that this process is not in", "0::/system.slice\n", inside, ""},
		{"the first version alone", "1:cpu:/\n", hybrid, ""},
		{"no tree", "0::/\n", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ownGroup([]byte(tt.groups), []byte(tt.mounts))
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestResidentBytes(t *testing.T) {
	if n, err := residentBytes(1); err != nil || n <= 0 {
		t.Errorf("process 1 holds %d bytes: %v", n, err)
	}
	if _, err := residentBytes(-1); err == nil {
		t.Error("a process that does not exist holds something")
	}
}
