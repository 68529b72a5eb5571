//go:build linux

package main

import "encoding/json"

// jsonFormat is --json: every record is an object on a line of stdout, and nothing else is there.
type jsonFormat struct{}

func (jsonFormat) line(r *record) (text []byte, toStdout bool) {
	text, err := json.Marshal(r)
	if err != nil {
		panic("wcluster: encode record: " + err.Error()) // it has no field that could fail
	}
	return append(text, '\n'), true
}
