package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inNamespace is set for a test that runs in a network namespace of its own.
const inNamespace = "ZOT_E2E_NAMESPACE"

// Main runs the tests of a package and returns their exit code; it is for TestMain.
//
// Where no Docker engine runs, the tests start one. It would change the addresses, the routes and the
// firewall of this machine, and leave some of it behind; so the tests then run in a network namespace of
// their own, which ends with them. An engine that runs is used as it is, where it is.
func Main(m *testing.M) int {
	if os.Getenv(inNamespace) != "" {
		if err := loopback(); err != nil {
			fmt.Fprintln(os.Stderr, "bring up the namespace's loopback:", err)
			return 1
		}
		return m.Run()
	}
	_, err := exec.LookPath("dockerd")
	if err != nil || os.Geteuid() != 0 || os.Getenv("ZOT") == "" || (&Engine{}).asks(context.Background()) == nil {
		return m.Run()
	}
	return again()
}

// again runs this program in a network namespace of its own, with the same arguments.
func again() int {
	runtime.LockOSThread() // as in Process.run
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...) //nolint:noctx // it ends when this program does
	cmd.Env = append(os.Environ(), inNamespace+"=yes")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() > 0 {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "run the tests in a network namespace:", err)
		return 1
	}
	return 0
}

// elsewhere is an address of this machine, in the namespace, that is none of 127.0.0.0/8: the engine trusts those whatever
// certificate they show, and shows them none.
const elsewhere = "192.0.2.1"

// loopback brings up the only interface that a new namespace has, and gives it one more address.
func loopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s) //nolint:errcheck // nothing is written to it
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, request); err != nil {
		return err
	}
	if request, err = unix.NewIfreq("lo:1"); err != nil {
		return err
	}
	if err := request.SetInet4Addr(net.ParseIP(elsewhere).To4()); err != nil {
		return err
	}
	return unix.IoctlIfreq(s, unix.SIOCSIFADDR, request)
}
