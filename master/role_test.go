package master

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/wcluster/wcluster/abi"
)

func TestWhatAGuestMasterIsTold(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want abi.Errno
	}{
		{fmt.Errorf("set up master: %w", ErrSetup), abi.EEXIST},
		{fmt.Errorf("set up master: %w", errUnnamed), abi.ENOENT},
		{fmt.Errorf("fork: %w", errTooMany), abi.EAGAIN},
		{fmt.Errorf("fork: %w", ErrDisconnecting), abi.ECANCELED},
		{fmt.Errorf("fork: %w", syscall.ENOMEM), abi.ENOMEM},
		{&PrepareError{Op: StepCompile, Err: errors.New("not Wasm")}, abi.ENOEXEC},
		{errors.New("environment entry \"x\": write KEY=VALUE"), abi.EINVAL},
	} {
		var said []error
		g := &GuestMaster{role: Role{Errors: func(err error) { said = append(said, err) }}}
		if got := g.refusal(tt.err); got.Errno != tt.want || got.Error != tt.err.Error() || len(said) != 1 {
			t.Errorf("%v: %+v, said %v; want %v", tt.err, got, said, tt.want)
		}
	}
	if got := (&GuestMaster{}).refusal(nil); got != (abi.Result{}) {
		t.Errorf("no error: %+v", got)
	}
}

func TestAGuestMasterReachesItsOwnAlone(t *testing.T) {
	g := &GuestMaster{cluster: New(), role: Role{Modules: map[string]string{"other": "/srv/other.wasm"}}}
	for _, op := range []abi.Op{abi.OpDisconnect, abi.OpDestroy, abi.OpKill, "unheard-of"} {
		if got := g.do(&abi.Request{Op: op, Target: 7, Signal: 9}); got.Errno != abi.ESRCH {
			t.Errorf("%s of nobody: %+v", op, got)
		}
	}
	for _, exec := range []string{"/etc/passwd", "../app.wasm", "nobody"} {
		if got := g.do(&abi.Request{Op: abi.OpSetup, Setup: &abi.Setup{Exec: exec}}); got.Errno != abi.ENOENT {
			t.Errorf("exec %q: %+v", exec, got)
		}
	}
	if got := g.do(&abi.Request{Op: abi.OpSetup}); got.Errno != abi.EINVAL {
		t.Errorf("setup of nothing: %+v", got)
	}
}

func TestAFaultIsShortened(t *testing.T) {
	if got := shortened(strings.Repeat("ä", maxTold)); len(got) > maxTold || strings.ContainsRune(got, '\ufffd') {
		t.Errorf("%d bytes: %q", len(got), got)
	}
	if got := shortened("short"); got != "short" {
		t.Errorf("%q", got)
	}
}
