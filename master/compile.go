package master

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/abi/ipc"
)

// compile finds the module in the cache or has it compiled, and notes where. Called with Cluster.prepare held.
func (c *Cluster) compile(ctx context.Context, say func(Step)) error {
	s, p := c.settingsNow(), &c.prepared
	failed := func(reason abi.Reason, err error) error {
		return &PrepareError{Op: StepCompile, Reason: reason, Err: err}
	}
	if p.cache == nil {
		cache, err := openCache(s.CacheDir)
		if err != nil {
			return failed("", err)
		}
		p.cache = cache
	}
	key := cacheKey(p.module.hash, s.Debug)
	if report, ok := p.cache.lookup(key); ok {
		say(StepCached)
		p.report, p.cacheDir = report, p.cache.path(key)
		return nil
	}
	say(StepCompile)
	dir, err := p.cache.begin()
	if err != nil {
		return failed("", err)
	}
	defer os.RemoveAll(dir) // after commit there is nothing of that name
	report, err := c.runCompiler(ctx, dir)
	if err != nil {
		return failed("", err)
	}
	p.report = report
	if report.Error != "" {
		return failed(report.Reason, fmt.Errorf("run module %s: %s", p.name, report.Error))
	}
	if err := p.cache.commit(dir, key, report); err != nil {
		return failed("", err)
	}
	p.cacheDir = p.cache.path(key)
	return nil
}

// compiler is a compile child: a host process that reads the module, since the master never does, and is trusted no
// more than a worker.
type compiler struct {
	process *Process
	conn    *ipc.Conn
	stderr  *output
	said    tail
}

// runCompiler starts a compile child, asks it, and waits for its end. It leaves what the engine wrote in dir.
func (c *Cluster) runCompiler(ctx context.Context, dir string) (abi.Report, error) {
	p := &c.prepared
	child, err := c.startCompiler()
	if err != nil {
		return abi.Report{}, fmt.Errorf("compile module %s: %w", p.name, err)
	}
	kill := func() { _ = child.process.Kill(syscall.SIGKILL) } // it may have ended
	stop := context.AfterFunc(ctx, kill)
	defer stop()
	hello := time.AfterFunc(helloTimeout, kill)
	report, err := child.ask(p, dir, c.settingsNow().Debug, hello)
	end := child.finish()
	switch {
	case ctx.Err() != nil:
		return abi.Report{}, fmt.Errorf("compile module %s: %w", p.name, ctx.Err())
	case err != nil:
		return abi.Report{}, fmt.Errorf("compile module %s: %w", p.name, child.explain(err, end))
	}
	return report, nil
}

func (c *Cluster) startCompiler() (*compiler, error) {
	k := &compiler{}
	h := hostProcess{host: c.settingsNow().Host, name: processName("compile", c.prepared.name), role: roleCompile}
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

func (k *compiler) open(h *hostProcess) (err error) {
	if k.stderr, h.stderr, err = newOutput(k.said.add); err != nil {
		return err
	}
	var ours *ipc.FD
	if ours, h.channel, err = ipc.Pair(); err != nil {
		return err
	}
	k.conn, err = ipc.NewConn(ours, abi.Worker, abi.DefaultMaxMessage, channelQueue(0))
	return err
}

// abandon closes what open has made, of a child that was not started.
func (k *compiler) abandon() {
	if k.stderr != nil {
		k.stderr.file.Close()
	}
	if k.conn != nil {
		k.conn.Close()
	}
}

// ask is the whole conversation: hello both ways, the request with the module, the answer.
func (k *compiler) ask(p *prepared, dir string, debug bool, hello *time.Timer) (abi.Report, error) {
	var report abi.Report
	if err := k.conn.Control(abi.KindHello, 0, ipc.OurHello()); err != nil {
		return report, err
	}
	f, err := k.receive(abi.PhaseGreeting)
	if err != nil {
		return report, err
	}
	hello.Stop()
	if err := ipc.CheckHello(f); err != nil {
		return report, err
	}
	fd, err := p.module.open()
	if err != nil {
		return report, err
	}
	if err := k.conn.Control(abi.KindCompile, 0, abi.Compile{Name: p.name, CacheDir: dir, Debug: debug}, fd); err != nil {
		return report, err
	}
	if f, err = k.receive(abi.PhaseCompiling); err != nil {
		return report, err
	}
	if f.Kind == abi.KindFault {
		var fault abi.Fault
		if err := ipc.Decode(f, &fault); err != nil {
			return report, err
		}
		fault.Clip()
		return report, errors.New(fault.Text)
	}
	return report, ipc.Decode(f, &report)
}

func (k *compiler) receive(phase abi.Phase) (ipc.Frame, error) {
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
func (k *compiler) finish() status {
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
func (k *compiler) explain(err error, end status) error {
	if !errors.Is(err, io.EOF) {
		return err
	}
	exit := Exit{Code: end.code, Signal: end.signal}
	if said := k.said.String(); said != "" {
		return fmt.Errorf("the compile process ended with %v: %s", &exit, said)
	}
	return fmt.Errorf("the compile process ended with %v; does main begin with host.Init()?", &exit)
}

// tail keeps the first line that a child says: for a panic, that is the reason.
type tail struct{ first string }

func (t *tail) add(text []byte, _ bool) {
	if t.first == "" {
		t.first = strings.TrimSpace(string(text[:min(len(text), 512)]))
	}
}

func (t *tail) String() string { return t.first }
