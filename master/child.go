package master

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/abi/ipc"
)

// child is a host process that is asked one thing and ends: a compiler, because the master never reads a module, or a
// probe of the sandbox. It is trusted no more than a worker.
type child struct {
	what    string // for people: "compile", "probe"
	process *Process
	conn    *ipc.Conn
	stderr  *output
	said    tail
}

// startChild starts a host process in that role.
func (c *Cluster) startChild(role, name string, born confinement) (*child, error) {
	k := &child{what: role}
	h := hostProcess{host: c.settingsNow().Host, name: name, role: role, born: born}
	defer h.close()
	err := k.open(&h)
	if err == nil {
		k.process, err = c.spawner.spawn(h)
	}
	if err != nil {
		k.abandon()
		return nil, err
	}
	go k.stderr.run()
	return k, nil
}

func (k *child) open(h *hostProcess) (err error) {
	if k.stderr, h.stderr, err = newOutput(k.said.add); err != nil {
		return err
	}
	var ours *ipc.FD
	if ours, h.channel, err = ipc.Pair(); err != nil {
		return err
	}
	_ = refuseRights(ours) // an older kernel does not know it, and descriptors are refused all the same
	k.conn, err = ipc.NewConn(ours, abi.Worker, abi.DefaultMaxMessage, channelQueue(0))
	return err
}

// abandon closes what open has made, of a child that was not started.
func (k *child) abandon() {
	if k.stderr != nil {
		k.stderr.file.Close()
	}
	if k.conn != nil {
		k.conn.Close()
	}
}

// ask is the whole conversation: hello both ways, the question, the answer, which is decoded to answer; then the end of the
// process. It is killed when ctx ends, or when it says nothing at first.
func (k *child) ask(ctx context.Context, question abi.Kind, v any, fd *ipc.FD, phase abi.Phase, answer any) error {
	kill := func() { _ = k.process.Kill(syscall.SIGKILL) } // it may have ended
	defer context.AfterFunc(ctx, kill)()
	hello := time.AfterFunc(helloTimeout, kill)
	defer hello.Stop()
	err := k.greet(fd)
	if err == nil {
		hello.Stop()
		err = k.converse(question, v, fd, phase, answer)
	}
	end := k.finish()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return k.explain(err, end)
	}
	return nil
}

// greet exchanges hellos. On an error fd, which would have followed, is closed.
func (k *child) greet(fd *ipc.FD) error {
	err := k.conn.Control(abi.KindHello, 0, ipc.OurHello())
	var f ipc.Frame
	if err == nil {
		f, err = k.receive(abi.PhaseGreeting)
	}
	if err == nil {
		err = ipc.CheckHello(f)
	}
	if err != nil && fd != nil {
		fd.Close()
	}
	return err
}

func (k *child) converse(question abi.Kind, v any, fd *ipc.FD, phase abi.Phase, answer any) error {
	var fds []*ipc.FD
	if fd != nil {
		fds = []*ipc.FD{fd}
	}
	if err := k.conn.Control(question, 0, v, fds...); err != nil {
		return err
	}
	f, err := k.receive(phase)
	if err != nil {
		return err
	}
	if f.Kind == abi.KindFault {
		var fault abi.Fault
		if err := ipc.Decode(f, &fault); err != nil {
			return err
		}
		fault.Clip()
		return &childFault{fault}
	}
	return ipc.Decode(f, answer)
}

// childFault is what a child says in place of an answer.
type childFault struct{ abi.Fault }

func (f *childFault) Error() string { return f.Text }

func (k *child) receive(phase abi.Phase) (ipc.Frame, error) {
	f, err := k.conn.Receive()
	if err != nil {
		return f, err
	}
	talk := conversation{phase: phase}
	if err := talk.permit(&f); err != nil {
		f.Close()
		return f, err
	}
	return f, nil
}

// finish closes the channel, which tells a child that is still there to end, and waits for it.
func (k *child) finish() status {
	k.conn.Close()
	k.conn.Release()
	grace := time.AfterFunc(killGrace, func() { _ = k.process.Kill(syscall.SIGKILL) })
	defer grace.Stop()
	end, err := k.process.wait()
	if err != nil {
		end.code = -1
	}
	k.process.release()
	k.stderr.finish()
	<-k.stderr.done
	return end
}

// explain makes one line of why there was no answer.
func (k *child) explain(err error, end status) error {
	if !errors.Is(err, io.EOF) {
		return err
	}
	exit := Exit{Code: end.code, Signal: end.signal}
	if said := k.said.String(); said != "" {
		return fmt.Errorf("the %s process ended with %v: %s", k.what, &exit, said)
	}
	return fmt.Errorf("the %s process ended with %v; does main begin with host.Init()?", k.what, &exit)
}

// tail keeps the first line that a child says: for a panic, that is the reason.
type tail struct{ first string }

func (t *tail) add(text []byte, _ bool) {
	if t.first == "" {
		t.first = strings.TrimSpace(string(text[:min(len(text), 512)]))
	}
}

func (t *tail) String() string { return t.first }
