package main

import (
	"testing"
)

// TestRunRole: a module that forks is run once, as the master, and its exit code is the command's.
func TestRunRole(t *testing.T) {
	t.Parallel()
	c := start(t, []string{"run", guest(t, roles), "--", "2"})
	c.exits(7)
	c.await(c.stdout, 2, `^\[master\] [12] says hi there, salt$`)
	c.await(c.stdout, 1, `^\[master\] count 0$`)
	c.awaitErr(2, `^wcluster: worker [12] exited with code 0$`)
}

// TestRunRoleEnds: a signal lets the workers leave first, and then the guest.
func TestRunRoleEnds(t *testing.T) {
	t.Parallel()
	c := start(t, []string{"run", guest(t, roles), "--", "2", "stay"})
	c.await(c.stdout, 2, `^\[master\] [12] says hi there, salt$`)
	c.stops()
	c.await(c.stdout, 2, `^\[master\] [12] exit 0 0 1 ?$`)
	c.await(c.stdout, 1, `^\[master\] count 0$`)
	for _, pid := range c.pids() {
		if isWorker(pid) {
			t.Errorf("worker %d is still there", pid)
		}
	}
}

// TestRunRoleBounded: it has no more workers than it may, and the command says so.
func TestRunRoleBounded(t *testing.T) {
	t.Parallel()
	c := start(t, []string{"run", guest(t, roles), "--max-workers", "1", "--", "2"})
	c.exits(1)
	c.awaitErr(1, `^wcluster: fork: as many workers as allowed are alive: 1$`)
}

// TestRunRoleCounted: with -n it is a module like any other.
func TestRunRoleCounted(t *testing.T) {
	t.Parallel()
	c := start(t, []string{"run", guest(t, roles), "-n", "2"})
	c.awaitErr(2, `^wcluster: worker [12] online`)
	c.stops()
}
