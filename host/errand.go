package host

import (
	"fmt"
	"os"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/abi/ipc"
)

// errand is a role that is asked one thing, answers, and ends: the answer in a frame of its kind, or a fault. It answers the
// exit code of the process.
func errand(question, answer abi.Kind, do func(ipc.Frame) (any, error)) int {
	l, err := newLink(channel)
	if err == nil {
		err = l.answerOne(question, answer, do)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "wcluster:", err)
		return 1
	}
	return 0
}

func (l *link) answerOne(question, answer abi.Kind, do func(ipc.Frame) (any, error)) error {
	f, err := l.receive()
	if err != nil {
		return err
	}
	defer f.Close()
	var v any
	if f.Kind == question {
		v, err = do(f)
	} else {
		err = fmt.Errorf("%w: %v where %v was expected", abi.ErrFrame, f.Kind, question)
	}
	if err != nil {
		answer, v = abi.KindFault, abi.Fault{Reason: abi.FaultHost, Text: err.Error()}
	}
	if err := l.out.Control(answer, 0, v); err != nil {
		return err
	}
	return l.drainOut(farewell)
}
