package master

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/abi/ipc"
)

// Fork starts a worker; env are further entries K=V for its guest's environment. It prepares the module first if
// Prepare was not called, which can take seconds. When it answers an error there is no worker and no event tells of
// it; else fork is emitted, after Fork has returned to a caller in the dispatcher, and the other events follow.
func (c *Cluster) Fork(env ...string) (*Worker, error) {
	if err := checkEnv(env); err != nil {
		return nil, fmt.Errorf("fork: %w", err)
	}
	if _, err := c.Prepare(c.life, nil); err != nil {
		return nil, err
	}
	id, err := c.startFork()
	if err != nil {
		return nil, fmt.Errorf("fork: %w", err)
	}
	w, err := c.spawnWorker(id, env)
	c.endFork(w)
	if err != nil {
		return nil, fmt.Errorf("fork worker %d: %w", id, err)
	}
	return w, nil
}

func (c *Cluster) startFork() (id uint32, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return 0, ErrClosed
	case c.ending != nil:
		return 0, ErrDisconnecting
	}
	c.forking++
	if c.role == nil {
		c.lastID++ // a guest master is 0
	}
	return c.lastID, nil
}

// endFork lets a worker begin, if there is one. A Disconnect or Close that came in between applies to it as well.
func (c *Cluster) endFork(w *Worker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forking--
	c.changed.Broadcast()
	if w == nil {
		return
	}
	c.workers[w.id] = w
	c.running++
	c.events.post(func() { w.deliver(Event{Kind: EventFork, Worker: w}) })
	w.begin()
	switch {
	case c.closed:
		_ = w.process.Kill(syscall.SIGKILL)
	case c.ending != nil:
		w.Disconnect()
	}
}

// begin starts the goroutines of a worker. They end with its process and its channel; see reap.
func (w *Worker) begin() {
	for _, o := range w.outputs {
		go o.run()
	}
	w.timers.after(&w.timers.hello, helloTimeout, func() {
		w.Abort(FaultStuck, fmt.Sprintf("said nothing for %v after its start", helloTimeout))
	})
	go w.read()
	go w.reap()
}

// spawnWorker starts the process and makes the Worker. On an error nothing is left.
func (c *Cluster) spawnWorker(id uint32, env []string) (*Worker, error) {
	cfg, err := c.configure(id, env)
	if err != nil {
		return nil, err
	}
	w := &Worker{
		id: id, cluster: c, backlog: newAllowance(), config: cfg, sandbox: cfg.sandbox,
		gone: make(chan struct{}), closed: make(chan struct{}),
		talk: conversation{isMaster: c.role != nil, pings: map[uint32]chan<- struct{}{}, opens: map[socketKey]uint32{}},
	}
	h := hostProcess{
		host: c.settingsNow().Host, role: roleWorker, born: w.sandbox.born,
		name: processName(w.String(), cfg.body.Name),
	}
	defer h.close()
	if err := w.open(&h); err != nil {
		w.abandon()
		return nil, err
	}
	if g := w.sandbox.cgroups; g != nil {
		s := c.settingsNow()
		if w.group, h.cgroup, err = g.worker(id, s.CPU, memoryBound(s.Limits.Memory, cfg.moduleBytes)); err != nil {
			w.abandon()
			return nil, err
		}
	}
	c.watchMemory(cfg.moduleBytes)
	w.started = time.Now()
	if w.process, err = c.spawner.spawn(h); err != nil {
		w.abandon()
		return nil, err
	}
	return w, nil
}

// open makes all that a worker and its process have in common. What it has made when it answers an error is for
// abandon, and for the process's close.
func (w *Worker) open(h *hostProcess) (err error) {
	c := w.cluster
	s := c.settings.Load()
	var page *ipc.FD
	if w.board, page, err = newBoard(); err != nil {
		return err
	}
	w.config.fds = append(w.config.fds, page)
	if err := c.grantPreopens(w); err != nil {
		return err
	}
	if w.outputs[0], h.stdout, err = newOutput(s.printer.forWorker(w, Stdout)); err != nil {
		return err
	}
	if w.outputs[1], h.stderr, err = newOutput(s.printer.forWorker(w, Stderr)); err != nil {
		return err
	}
	var ours *ipc.FD
	if ours, h.channel, err = ipc.Pair(); err != nil {
		return err
	}
	if w.half, err = ours.Dup(); err != nil {
		ours.Close()
		return err
	}
	if w.sandbox.has(abi.LayerPassRights) {
		if err := refuseRights(ours); err != nil {
			ours.Close()
			return err
		}
	}
	w.conn, err = ipc.NewConn(ours, abi.Worker, uint32(s.MaxMessage), channelQueue(s.MaxMessage))
	if err != nil {
		return err
	}
	return w.conn.Control(abi.KindHello, 0, ipc.OurHello())
}

// abandon closes what open has made, of a worker that never began.
func (w *Worker) abandon() {
	ipc.CloseAll(w.config.fds)
	if w.board != nil {
		w.board.close()
	}
	for _, o := range w.outputs {
		if o != nil {
			o.file.Close()
		}
	}
	w.half.Close()
	if w.conn != nil {
		w.conn.Close()
	}
	w.group.remove()
}

// configure makes what a worker is told, with the module's descriptor. The scoreboard's is still missing.
func (c *Cluster) configure(id uint32, env []string) (*config, error) {
	s := c.settingsNow()
	c.prepare.Lock()
	defer c.prepare.Unlock()
	p := &c.prepared
	switch {
	case p.module == nil:
		return nil, ErrClosed
	case !p.bound: // a Disconnect has come and gone since Prepare
		return nil, ErrDisconnecting
	}
	var own []string // a guest knows itself to be the master when these are missing
	if c.role == nil {
		own = []string{fmt.Sprintf("WCLUSTER_WORKER_ID=%d", id), fmt.Sprintf("NODE_WORKER_ID=%d", id)}
	}
	preopens := make([]abi.Preopen, len(p.preopens))
	names := make([]string, len(p.preopens))
	for i, socket := range p.preopens {
		names[i] = s.Listen[i].Name
		preopens[i] = abi.Preopen{Name: names[i], Address: socket.address}
	}
	if len(preopens) > 0 {
		own = append(own, fmt.Sprintf("LISTEN_FDS=%d", len(preopens)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	}
	body := &abi.Config{
		ID: id, Master: c.role != nil, Name: p.name, Args: append([]string{p.name}, s.Args...), Env: mergeEnv(s.Env, env, own),
		CPUs: s.CPUs, MaxMessage: uint32(s.MaxMessage), CacheDir: p.cacheDir, Debug: s.Debug,
		Preopens: preopens, GracefulTimeout: int64(s.GracefulTimeout),
		Limits: s.Limits, Sandbox: p.sandbox.worker(int64(s.CPUTime / time.Second)),
	}
	// Here it is the caller's mistake; as a frame that cannot be sent it would be the worker's end.
	text, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode config: %w", err)
	}
	if len(text) > abi.MaxControl {
		return nil, fmt.Errorf("arguments and environment are too long: %d bytes as JSON, at most %d", len(text), abi.MaxControl)
	}
	module, err := p.module.open()
	if err != nil {
		return nil, err
	}
	return &config{body: body, fds: []*ipc.FD{module}, sandbox: p.sandbox, moduleBytes: p.module.size}, nil
}

// grantPreopens adds the descriptors of the preopened listeners, in order, and permits the worker to say that it
// listens on each.
func (c *Cluster) grantPreopens(w *Worker) error {
	c.prepare.Lock()
	defer c.prepare.Unlock()
	for _, s := range c.prepared.preopens {
		fd, err := c.registry.dup(s)
		if err != nil {
			return err
		}
		w.config.fds = append(w.config.fds, fd)
		w.talk.grants = append(w.talk.grants, grant{s.address, s.told})
	}
	return nil
}
