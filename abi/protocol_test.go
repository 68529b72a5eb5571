package abi

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestProtocolHasEveryKind(t *testing.T) {
	rows := protocolRows(t, "The kinds")
	for k, r := range rules {
		if k == 0 {
			continue
		}
		seq := map[bool][]string{false: {"–"}, true: {"asks", "answers"}}[r.answered]
		want := []string{"`" + r.name + "`", strconv.Itoa(k), r.from.String(), "", boundText(r), strconv.Itoa(int(r.fds))}
		i := slices.IndexFunc(rows, func(row []string) bool { return row[0] == want[0] })
		if i < 0 {
			t.Errorf("no row for %s", want[0])
			continue
		}
		row := rows[i]
		want[3] = row[3] // the body's type, in words
		if !slices.Equal(row[:6], want) || !slices.Contains(seq, row[6]) {
			t.Errorf("the row of %s is %q, want %q and one of %q", want[0], row[:7], want, seq)
		}
		if empty := row[3] == "none"; empty != (r.body == none) {
			t.Errorf("the row of %s says body %q", want[0], row[3])
		}
	}
	if len(rows) != len(rules)-1 {
		t.Errorf("%d rows, want %d", len(rows), len(rules)-1)
	}
}

func boundText(r rule) string {
	switch n := r.maxBody(1); {
	case n == 0:
		return "0"
	case n == 1:
		return "a message"
	case n == 1+PostHead:
		return "a message and 4 bytes"
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	default:
		return fmt.Sprintf("%d KiB", n>>10)
	}
}

func TestProtocolHasEveryPhase(t *testing.T) {
	var rows []string
	for _, row := range protocolRows(t, "What a worker may send when") {
		rows = append(rows, row[0]+": "+row[2])
	}
	var want []string
	for p, name := range Phases {
		var may []string
		for k, kind := range Kinds {
			if Permitted(p, k) {
				may = append(may, "`"+kind+"`")
			}
		}
		if may == nil {
			may = []string{"nothing"}
		}
		want = append(want, "`"+name+"`: "+strings.Join(may, " "))
	}
	if !slices.Equal(rows, want) {
		t.Errorf("PROTOCOL.md permits\n%s\nwant\n%s", strings.Join(rows, "\n"), strings.Join(want, "\n"))
	}
}

// protocolRows are the cells of the first table under a heading of PROTOCOL.md, without its head.
func protocolRows(t *testing.T, heading string) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("no heading %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		if row, ok := strings.CutPrefix(line, "| "); ok {
			rows = append(rows, strings.Split(strings.TrimSuffix(row, " |\n"), " | "))
		}
	}
	return rows[2:]
}
