package signed

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"syscall"
)

// network is how a call asks other servers. Their addresses are what certificates name: who has those issued writes them.
type network struct {
	direct, proxied http.RoundTripper

	left atomic.Int64 // bytes that answers may still have
}

// newNetwork keeps no connection open.
func newNetwork() *network {
	n := &network{
		direct: &http.Transport{
			DialContext:       (&net.Dialer{Control: refuseNear}).DialContext,
			DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeader,
		},
		// A proxy may be on this machine, and decides itself where it goes.
		proxied: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeader},
	}
	n.left.Store(maxAnswers)
	return n
}

// refuseNear fails for addresses that only this machine, or its link, can reach: there are services that believe whoever comes from here, as
// those that give a machine of a cloud its credentials. Private networks are not near: authorities of companies are there.
func refuseNear(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if !to.Addr().IsGlobalUnicast() {
		return fmt.Errorf("%s is an address of this machine or its link, and not asked for a certificate", to.Addr())
	}
	return nil
}

// RoundTrip is http.RoundTripper's.
func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	by := n.proxied
	if proxy, err := http.ProxyFromEnvironment(r); proxy == nil && err == nil {
		by = n.direct
	}
	response, err := by.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	response.Body = counted{response.Body, &n.left}
	return response, nil
}

// counted fails once all answers have too many bytes: what has been read by then says nothing.
type counted struct {
	io.ReadCloser

	left *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if c.left.Add(-int64(n)) < 0 {
		return 0, errors.New("the answers of others are too long")
	}
	return n, err
}
