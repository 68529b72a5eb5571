package wasip1

import "github.com/wcluster/wcluster/abi"

// MaxFDs is the most descriptors that a guest may have open, unless the configuration says less. The process's own
// limit (RLIMIT_NOFILE) may be met first, with the same errno.
const MaxFDs = 1 << 16

// table maps the guest's descriptor numbers to entries. A new descriptor gets the lowest free number, as POSIX
// says and as old programs rely on.
type table struct {
	entries []*Entry
	limit   int
	lowest  int // no number below it is free
	open    int
}

func (t *table) get(fd uint32) (*Entry, Errno) {
	if uint64(fd) >= uint64(len(t.entries)) || t.entries[fd] == nil {
		return nil, abi.EBADF
	}
	return t.entries[fd], abi.Success
}

// room says whether add would succeed: to be asked before a descriptor is made that would otherwise be lost.
func (t *table) room() bool { return t.open < t.limit }

// add puts e at the lowest free number. The caller has asked room.
func (t *table) add(e *Entry) uint32 {
	for t.lowest < len(t.entries) && t.entries[t.lowest] != nil {
		t.lowest++
	}
	if t.lowest == len(t.entries) {
		t.entries = append(t.entries, nil)
	}
	t.entries[t.lowest] = e
	t.open++
	e.number = uint32(t.lowest)
	t.lowest++
	return e.number
}

// remove frees number fd, which is open, and answers its entry.
func (t *table) remove(fd uint32) *Entry {
	e := t.entries[fd]
	t.entries[fd] = nil
	t.open--
	t.lowest = min(t.lowest, int(fd))
	return e
}

// move puts the entry of from at to, both open, and answers the entry that was there.
func (t *table) move(from, to uint32) *Entry {
	old := t.entries[to]
	t.entries[to] = t.entries[from]
	t.entries[to].number = to
	t.entries[from] = nil
	t.open--
	t.lowest = min(t.lowest, int(from))
	return old
}
