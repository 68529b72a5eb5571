package master

import (
	"slices"
	"testing"
)

func TestLifeKeepsTheOrderOfEventsWhateverComes(t *testing.T) {
	order := []EventKind{EventOnline, EventListening, EventDisconnecting, EventDisconnect, EventExit, EventDeath}
	// Every sequence of inputs up to a length that visits every phase: 6 inputs, 6 steps.
	var walk func(p phase, told []EventKind, closed, ended bool, depth int)
	walk = func(p phase, told []EventKind, closed, ended bool, depth int) {
		last := -1
		for i, kind := range told {
			at := slices.Index(order, kind)
			if at < last || at == last && kind != EventListening {
				t.Fatalf("events %v: number %d is out of order", told, i)
			}
			last = at
		}
		if p.connected() == closed || p.alive() == ended {
			t.Fatalf("phase %d after closed %t, ended %t", p, closed, ended)
		}
		if (p == phaseDead) != (closed && ended) {
			t.Fatalf("phase %d after closed %t, ended %t", p, closed, ended)
		}
		if p == phaseDead && !slices.Equal(told[len(told)-2:], []EventKind{EventExit, EventDeath}) {
			t.Fatalf("dead after %v", told)
		}
		if depth == 0 {
			return
		}
		for in := range inputCount {
			s := steps[p][in]
			if !s.ok {
				if (in == inClosed && !closed) || (in == inEnded && !ended) {
					t.Fatalf("phase %d ignores input %d", p, in)
				}
				continue
			}
			walk(s.next, append(slices.Clip(told), s.emit...), closed || in == inClosed, ended || in == inEnded, depth-1)
		}
	}
	walk(phaseForked, nil, false, false, 7)
}

func TestLifeTable(t *testing.T) {
	tests := []struct {
		name   string
		inputs []input
		phase  phase
		told   []EventKind
	}{
		{
			"a worker that exits by itself",
			[]input{inOnline, inListening, inClosed, inEnded},
			phaseDead,
			[]EventKind{EventOnline, EventListening, EventDisconnect, EventExit, EventDeath},
		},
		{
			"exit is held until the channel has closed",
			[]input{inOnline, inEnded},
			phaseOnlineEnded,
			[]EventKind{EventOnline},
		},
		{
			"frames that a dead process has left behind are told",
			[]input{inEnded, inOnline, inListening, inListening, inLeaving, inClosed},
			phaseDead,
			[]EventKind{EventOnline, EventListening, EventListening, EventDisconnecting, EventDisconnect, EventExit, EventDeath},
		},
		{
			"online and listening that cross the request to leave are not told",
			[]input{inAsked, inOnline, inListening, inLeaving, inClosed, inEnded},
			phaseDead,
			[]EventKind{EventDisconnecting, EventDisconnect, EventExit, EventDeath},
		},
		{
			"a second request changes nothing",
			[]input{inOnline, inAsked, inAsked, inLeaving},
			phaseLeaving,
			[]EventKind{EventOnline, EventDisconnecting},
		},
		{
			"a dead process cannot be asked to leave",
			[]input{inOnline, inEnded, inAsked, inClosed},
			phaseDead,
			[]EventKind{EventOnline, EventDisconnect, EventExit, EventDeath},
		},
		{
			"nothing happens to the dead",
			[]input{inClosed, inEnded, inOnline, inListening, inAsked, inLeaving, inClosed, inEnded},
			phaseDead,
			[]EventKind{EventDisconnect, EventExit, EventDeath},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := phaseForked
			var told []EventKind
			for _, in := range tt.inputs {
				if s := steps[p][in]; s.ok {
					p = s.next
					told = append(told, s.emit...)
				}
			}
			if p != tt.phase || !slices.Equal(told, tt.told) {
				t.Errorf("phase %d, events %v; want %d, %v", p, told, tt.phase, tt.told)
			}
		})
	}
}
