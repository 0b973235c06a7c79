package bearer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/smithy-go"
)

// What AWS's library has said comes down to its kind, without whatever it quotes.
func TestToldByAWS(t *testing.T) {
	t.Parallel()
	at := func(err error) error {
		return fmt.Errorf("hunter2: %w", &url.Error{Op: "Post", URL: "https://a:hunter2@aws.example/hunter2?hunter2", Err: err})
	}
	from := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 50123}
	on := func(op string, err error) error {
		return at(&net.OpError{Op: op, Net: "tcp", Source: from, Addr: from, Err: err})
	}
	for want, err := range map[string]error{
		`AWS refuses with "Throttledx"`:                        fmt.Errorf("hunter2: %w", &smithy.GenericAPIError{Code: "Throttled\nx", Message: "hunter2"}),
		"aws.example does not answer: connection refused":      on("dial", os.NewSyscallError("connect", syscall.ECONNREFUSED)),
		"aws.example does not answer: not in time":             on("read", os.ErrDeadlineExceeded),
		"aws.example does not answer: its name is not found":   on("dial", &net.DNSError{Err: "read udp 127.0.0.1:50123", Name: "hunter2", IsNotFound: true}),
		"aws.example does not answer: the connection breaks":   on("write", os.NewSyscallError("write", syscall.EPIPE)),
		"aws.example does not answer: its certificate is not":  at(&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Detail: "50123"}}),
		"AWS does not answer: not in time":                     &smithy.CanceledError{Err: context.DeadlineExceeded},
		"there are no credentials for AWS, or its answer is n": &smithy.OperationError{ServiceID: "hunter2", Err: errors.Join(io.EOF, errors.New("hunter2"))},
	} {
		got := toldByAWS(err).Error()
		if !strings.HasPrefix(got, want) || strings.Contains(got, "50123") || strings.Contains(got, "hunter2") {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}
