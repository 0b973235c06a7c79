package peer_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/peer"
)

type name string

func (name) Network() string  { return "udp" }
func (n name) String() string { return string(n) }

func TestSystemNetworkSendsToNames(t *testing.T) {
	network := peer.SystemNetwork()
	from, err := network.ListenPacket("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close() //nolint:errcheck // nothing is lost with it
	to, err := network.ListenPacket("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close() //nolint:errcheck // nothing is lost with it
	_, port, err := net.SplitHostPort(to.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []net.Addr{name("localhost:" + port), name("localhost:" + port), name("127.0.0.1:" + port), to.LocalAddr()} {
		_, err := from.WriteTo([]byte(address.String()), address)
		for end := time.Now().Add(patience); err != nil && time.Now().Before(end); {
			time.Sleep(time.Second) // a name is not waited for for long, and then taken for unknown for a while
			_, err = from.WriteTo([]byte(address.String()), address)
		}
		if err != nil {
			t.Fatalf("send to %s: %v", address, err)
		}
		if err := to.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 100)
		n, _, err := to.ReadFrom(buffer)
		if err != nil || string(buffer[:n]) != address.String() {
			t.Errorf("got %q, %v; want %q", buffer[:n], err, address)
		}
	}
	for _, bad := range []name{"no port", "host.invalid:7373", "localhost:no-such-port"} {
		for range 2 { // the second answer is remembered
			if _, err := from.WriteTo([]byte("x"), bad); err == nil || !strings.Contains(err.Error(), "resolve "+string(bad)) {
				t.Errorf("send to %q: %v", bad, err)
			}
		}
	}
}
