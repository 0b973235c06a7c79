package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// patience is how long a registry may take to be ready, and to stop.
const patience = 30 * time.Second

// process is a program that runs until stop.
type process struct {
	cmd *exec.Cmd
	log string // where it writes to
}

// start runs a program, whose output goes to a file. The caller stops it.
func start(dir string, env []string, program string, args ...string) (*process, error) {
	p := &process{log: filepath.Join(dir, "log")}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()                      //nolint:errcheck // the program has its own handle
	p.cmd = exec.Command(program, args...) //nolint:noctx // it ends by stop
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	return p, p.cmd.Start()
}

// stop ends the program. It fails with the program's log if it had ended before.
func (p *process) stop() error {
	for range 2 { // the second cuts a node's wait for load balancers short
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			log, _ := os.ReadFile(p.log) // an empty one says enough
			return fmt.Errorf("%s: %w\n%s", p.cmd.Path, err, log)
		}
	}
	late := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() }) // it may have ended just now
	defer late.Stop()
	_ = p.cmd.Wait() // by a signal: distribution says that it is an error
	return nil
}

// busy is the processor time that the program has used.
func (p *process) busy() time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0 // another system than Linux
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the name may have spaces
	fields := strings.Fields(rest)
	const user, system, perSecond = 14 - 3, 15 - 3, 100
	if len(fields) <= system {
		return 0
	}
	total := 0
	for _, i := range []int{user, system} {
		n, _ := strconv.Atoi(fields[i]) // the kernel writes digits
		total += n
	}
	return time.Duration(total) * time.Second / perSecond
}

// ready waits until a registry answers 200.
func ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(r)
		if err == nil {
			_ = answer.Body.Close() // it is not read
			if answer.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(answer.Status)
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", url, err)
		}
	}
}

// freeAddress is an address at which nobody listens now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // binding waits for nobody
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
