package wasip1

// roster is a set of entries. Each entry knows its place, so that joining and leaving cost the same however many there
// are: a guest may have thousands of connections and close them all at once.
type roster struct {
	which   uint8
	entries []*Entry
}

// The rosters that an entry can be on.
const (
	onStale     = iota // watched, but epoll has not been asked for all of it
	onKnown            // watched, and its readiness is known without epoll
	onListening        // a listener that is in epoll
	onMuted            // left alone for a while
	onResting          // a listener left to the siblings for a moment
	rosters
)

func (r *roster) has(e *Entry) bool { return e.places[r.which] != 0 }

func (r *roster) add(e *Entry) {
	if !r.has(e) {
		r.entries = append(r.entries, e)
		e.places[r.which] = int32(len(r.entries))
	}
}

// drop moves the last entry to the place of e: a loop that drops what it visits runs backwards.
func (r *roster) drop(e *Entry) {
	at := e.places[r.which]
	if at == 0 {
		return
	}
	last := len(r.entries) - 1
	moved := r.entries[last]
	r.entries[at-1], moved.places[r.which] = moved, at
	r.entries[last], e.places[r.which] = nil, 0
	r.entries = r.entries[:last]
}
