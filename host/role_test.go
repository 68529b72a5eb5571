package host_test

import (
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/wcluster/wcluster/internal/hosttest"
	"github.com/wcluster/wcluster/master"
)

// play runs a module in the master role to its end, and answers what it and its workers wrote, by the line.
func play(t *testing.T, module string, r master.Role, args ...string) (lines []string, exit *master.Exit) {
	t.Helper()
	var mu sync.Mutex
	c := master.New()
	g, err := master.NewGuestMaster(c, master.Settings{
		Exec: module, Args: args, Host: hosttest.Binary(t), CacheDir: hosttest.CacheDir(t), Sandbox: hosttest.Sandbox(),
		Output: func(l master.OutputLine) {
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, string(l.Text))
		},
	}, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	ended := make(chan *master.Exit, 1)
	g.Home().On(master.EventExit, func(e master.Event) { ended <- e.Exit })
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	exit = <-ended
	g.Close()
	<-c.Done()
	<-g.Home().Done()
	return lines, exit
}

func TestAGuestPlaysTheMaster(t *testing.T) {
	lines, exit := play(t, guest(t, "roles"), master.Role{}, "2")
	if exit.Code != 7 || exit.Fault != nil {
		t.Errorf("the guest master ended with %v", exit)
	}
	for _, id := range []string{"1", "2"} {
		var got []string
		for _, l := range lines {
			if rest, ok := strings.CutPrefix(l, id+" "); ok {
				got = append(got, strings.TrimSpace(rest))
			}
		}
		want := []string{"fork", "online", "says hi there, salt", "disconnecting", "disconnect", "exit 0 0 1", "death"}
		if !slices.Equal(got, want) {
			t.Errorf("worker %s: %q, want %q", id, got, want)
		}
	}
	for _, want := range []string{"0 setup", "0 disconnect", "count 0"} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %q in %q", want, lines)
		}
	}
}

// Whatever ends the guest master, its workers end with it.
func TestWorkersEndWithTheirGuestMaster(t *testing.T) {
	c := master.New()
	g, err := master.NewGuestMaster(c, master.Settings{
		Exec: guest(t, "roles"), Args: []string{"2", "stay"}, Host: hosttest.Binary(t), CacheDir: hosttest.CacheDir(t),
		Sandbox: hosttest.Sandbox(), Silent: true,
	}, master.Role{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	answers, ended := make(chan struct{}, 2), make(chan *master.Exit, 1)
	c.On(master.EventMessage, func(master.Event) { answers <- struct{}{} })
	g.Home().On(master.EventExit, func(e master.Event) { ended <- e.Exit })
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	<-answers
	<-answers
	workers := c.Workers()
	if err := g.Home().Workers()[0].Process().Kill(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if exit := <-ended; exit.Signal != syscall.SIGKILL {
		t.Errorf("it ended with %v", exit)
	}
	<-c.Done()
	for _, w := range workers {
		if !w.IsDead() {
			t.Errorf("%v lives on", w)
		}
	}
}

// At most so many workers, whatever the guest asks for.
func TestAGuestMasterForksNoMoreThanItMay(t *testing.T) {
	var said []string
	_, exit := play(t, guest(t, "roles"), master.Role{MaxWorkers: 2, Errors: func(err error) { said = append(said, err.Error()) }}, "3")
	if exit.Code != 1 || len(said) != 1 || !strings.Contains(said[0], "as many workers as allowed") {
		t.Errorf("it ended with %v; errors %q", exit, said)
	}
}
