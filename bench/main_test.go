package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wcluster/wcluster/internal/leaktest"
)

func TestMain(m *testing.M) {
	code := leaktest.Run(m, "main.startProcess", "main.(*measurement)")
	if sharedShop != nil {
		sharedShop.close()
	}
	os.Exit(code)
}

func TestFlagsSayWhatToChange(t *testing.T) {
	for name, c := range map[string]struct{ args, want string }{
		"a load of half a second":      {"-d 500ms", "whole seconds"},
		"a load of one and a half":     {"-d 1500ms", "whole seconds"},
		"no workers":                   {"-n 0", "at least 1 worker"},
		"no repetitions":               {"-reps 0", "at least 1 repetition"},
		"an argument that is no flag":  {"wcluster", "flags alone"},
		"a flag that there is not":     {"-fast", "not defined"},
		"a duration that there is not": {"-d soon", "invalid value"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parseFlags(strings.Fields(c.args)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("bench %s: %v, want %q", c.args, err, c.want)
			}
		})
	}
}

func TestQuickIsOneShortRepetition(t *testing.T) {
	o, err := parseFlags([]string{"--quick", "-reps", "9", "-d", "9s"})
	if err != nil || o.reps != 1 || o.duration != time.Second || o.seed == 0 {
		t.Errorf("--quick: %+v, %v", o, err)
	}
	for _, s := range defaultServers(true) {
		if s.slow {
			t.Errorf("--quick takes %s, whose build is slow", s.name)
		}
	}
}

func TestServersAreNamed(t *testing.T) {
	found, err := serversNamed([]string{"go", "node-none", "go"})
	if err != nil || len(found) != 2 || found[0].name != "go" || found[1].name != "node-none" {
		t.Errorf("go,node-none,go: %v, %v", found, err)
	}
	if _, err := serversNamed([]string{"apache"}); err == nil || !strings.Contains(err.Error(), "native-c") {
		t.Errorf("an unknown server: %v, want the names that there are", err)
	}
	for _, s := range servers {
		for _, tool := range append(s.tools, "wrk") {
			if packages[tool] == "" {
				t.Errorf("%s takes %s: say what to install for it", s.name, tool)
			}
		}
	}
}

func TestAServerWhoseProgramIsMissingSaysWhatToInstall(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	s := &server{name: "node", tools: []string{"node"}}
	if got := s.missing(); !strings.Contains(got, "nodejs") {
		t.Errorf("without node: %q, want the package's name", got)
	}
}
