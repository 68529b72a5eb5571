// Command count is the cluster API's own example: a master that counts the requests its workers serve.
//
// Each worker runs guests/count-c, an HTTP server that sends the master a message for every request. The master adds
// them up and prints the sum.
//
//	go run ./examples/count -n 4 &
//	curl http://127.0.0.1:8000/
//
// It ends with SIGINT or SIGTERM, once the requests under way are answered.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wcluster/wcluster/host"
	"github.com/wcluster/wcluster/master"
)

func main() {
	// A worker is this program, started again: Init runs the guest there and does not return.
	host.Init()
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatal("count: ", err)
	}
}

func run() error {
	module := flag.String("module", "guests/count-c/count.wasm", "the guest, compiled for wasip1")
	listen := flag.String("listen", "tcp://127.0.0.1:8000", "where the workers listen")
	n := flag.Int("n", runtime.NumCPU(), "how many workers")
	flag.Parse()

	cluster := master.New()
	defer cluster.Close()
	// The guest asks the master for the address itself; the first worker's request binds it, the others share it.
	if err := cluster.SetupMaster(master.Settings{Exec: *module, Args: []string{*listen}}); err != nil {
		return err
	}

	var numReqs atomic.Int64
	cluster.On(master.EventMessage, func(e master.Event) {
		var message struct {
			Cmd string `json:"cmd"`
		}
		if json.Unmarshal(e.Message, &message) == nil && message.Cmd == "notifyRequest" {
			numReqs.Add(1)
		}
	})
	cluster.On(master.EventListening, func(e master.Event) {
		fmt.Printf("%v listens on %v\n", e.Worker, e.Address)
	})
	none := make(chan struct{})
	cluster.On(master.EventExit, func(e master.Event) {
		if !e.Exit.Suicide {
			log.Printf("%v: %v", e.Worker, e.Exit)
		}
		if len(cluster.Workers()) == 0 {
			close(none)
		}
	})
	// Inside Do all of them are forked before the first can be told to have ended.
	forked := make(chan error)
	cluster.Do(func() { forked <- fork(cluster, *n) })
	if err := <-forked; err != nil {
		return err
	}

	count(&numReqs, cluster, none)
	return nil
}

func fork(cluster *master.Cluster, n int) error {
	for range n {
		if _, err := cluster.Fork(); err != nil {
			return err
		}
	}
	return nil
}

// count prints the sum every second when it has changed, until a signal comes or no worker is left; then the final one.
func count(numReqs *atomic.Int64, cluster *master.Cluster, none <-chan struct{}) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	second := time.NewTicker(time.Second)
	defer second.Stop()
	printed := int64(0)
	for {
		select {
		case <-second.C:
			if sum := numReqs.Load(); sum != printed {
				printed = sum
				fmt.Println("numReqs =", sum)
			}
		case <-signals:
			signals = nil // a second signal changes nothing
			cluster.Disconnect(nil)
		case <-none:
			fmt.Println("numReqs =", numReqs.Load())
			return
		}
	}
}
