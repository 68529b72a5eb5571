package wasip1

import (
	"math/rand/v2"
	"testing"

	"github.com/wcluster/wcluster/abi"
)

func TestTableGivesTheLowestFreeNumber(t *testing.T) {
	tab := table{limit: 100}
	rng := rand.New(rand.NewPCG(1, 2))
	model := map[uint32]*Entry{}
	for range 20_000 {
		switch fd := rng.Uint32N(100); {
		case rng.IntN(2) == 0 && tab.room():
			lowest := uint32(0)
			for model[lowest] != nil {
				lowest++
			}
			e := &Entry{}
			if got := tab.add(e); got != lowest || e.number != lowest {
				t.Fatalf("add answers %d, want %d", got, lowest)
			}
			model[lowest] = e
		case rng.IntN(4) == 0 && model[fd] != nil:
			to := rng.Uint32N(100)
			if to == fd || model[to] == nil {
				continue
			}
			if tab.move(fd, to) != model[to] || model[fd].number != to {
				t.Fatalf("move from %d to %d", fd, to)
			}
			model[to] = model[fd]
			delete(model, fd)
		case model[fd] != nil:
			if tab.remove(fd) != model[fd] {
				t.Fatalf("remove %d", fd)
			}
			delete(model, fd)
		default:
			if _, errno := tab.get(fd); errno != abi.EBADF {
				t.Fatalf("get %d: %v, want EBADF", fd, errno)
			}
		}
		if tab.open != len(model) || tab.room() != (len(model) < 100) {
			t.Fatalf("%d open, want %d", tab.open, len(model))
		}
	}
}

func TestRosterKeepsPlaces(t *testing.T) {
	r := roster{which: onStale}
	rng := rand.New(rand.NewPCG(3, 4))
	entries := make([]Entry, 50)
	on := map[*Entry]bool{}
	for range 20_000 {
		e := &entries[rng.IntN(len(entries))]
		if rng.IntN(2) == 0 {
			r.add(e)
			on[e] = true
		} else {
			r.drop(e)
			delete(on, e)
		}
		if len(r.entries) != len(on) {
			t.Fatalf("%d on it, want %d", len(r.entries), len(on))
		}
		for i, e := range r.entries {
			if !on[e] || !r.has(e) || e.places[onStale] != int32(i+1) {
				t.Fatalf("entry %d does not know its place", i)
			}
		}
	}
}

func TestMaxFDsIsNeverMoreThanThereAre(t *testing.T) {
	for _, tt := range []struct{ asked, want int }{{0, MaxFDs}, {-1, MaxFDs}, {1, 1}, {MaxFDs, MaxFDs}, {MaxFDs + 1, MaxFDs}} {
		if got := newSystem(t, Config{MaxFDs: tt.asked}).table.limit; got != tt.want {
			t.Errorf("MaxFDs %d gives %d, want %d", tt.asked, got, tt.want)
		}
	}
}
