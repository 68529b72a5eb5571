package master

import "sync"

// dispatcher is the goroutine that calls handlers. Posting never waits: what may be queued is bounded by those who
// post (see allowance). The goroutine starts with the first post and ends after stop, once the queue is empty.
type dispatcher struct {
	mu      sync.Mutex // guards the fields below; the innermost lock of the package
	queue   []func()
	started bool
	stopped bool

	wake chan struct{} // capacity 1: queue or stopped has changed
	done chan struct{} // closed when nothing will be called any more
}

func newDispatcher() *dispatcher {
	return &dispatcher{wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// post queues f. After stop it is dropped and false is answered.
func (d *dispatcher) post(f func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return false
	}
	d.queue = append(d.queue, f)
	if !d.started {
		d.started = true
		go d.run()
	}
	d.kick()
	return true
}

func (d *dispatcher) kick() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *dispatcher) run() {
	defer close(d.done)
	for range d.wake {
		for {
			batch, stopped := d.take()
			if len(batch) == 0 && stopped {
				return
			}
			if len(batch) == 0 {
				break
			}
			for i, f := range batch {
				batch[i] = nil // a message is garbage once it was handled, not once its batch was
				f()
			}
		}
	}
}

func (d *dispatcher) take() (batch []func(), stopped bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	batch, d.queue = d.queue, nil
	return batch, d.stopped
}

// stop lets the goroutine end once it has called what is queued. It does not wait: a handler may be the caller.
func (d *dispatcher) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return
	}
	d.stopped = true
	if !d.started {
		close(d.done)
		return
	}
	d.kick()
}

// backlogLimit bounds the bytes of messages of one worker that wait for the dispatcher, each counted with
// messageCost. Beyond it the worker's channel is not read until handlers have caught up.
const backlogLimit = 4 << 20

// messageCost is what a message costs beyond its bytes: its event, its slot in the queue.
const messageCost = 256

// allowance is one worker's share of the dispatcher's queue.
type allowance struct {
	mu     sync.Mutex
	room   *sync.Cond
	used   int
	paused bool // a take waits
	open   bool // no bound any more: the worker has ended
}

func newAllowance() *allowance {
	a := &allowance{}
	a.room = sync.NewCond(&a.mu)
	return a
}

// take waits until there is room and takes n; something larger than the whole is taken when nothing else waits.
func (a *allowance) take(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.used > 0 && a.used+n > backlogLimit && !a.open {
		a.paused = true
		a.room.Wait()
	}
	a.paused = false
	a.used += n
}

func (a *allowance) give(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.used -= n
	a.room.Signal()
}

// waive ends the bound: what a dead process has left in its channel is bounded by the channel.
func (a *allowance) waive() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open = true
	a.room.Signal()
}

func (a *allowance) isPaused() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.paused
}
