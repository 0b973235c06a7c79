package signed

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/iotest"
)

func TestRefuseNear(t *testing.T) {
	t.Parallel()
	for address, refused := range map[string]bool{
		"127.0.0.1:80":                true,
		"127.9.9.9:80":                true,
		"[::1]:80":                    true,
		"[::ffff:127.0.0.1]:80":       true,
		"[::ffff:169.254.169.254]:80": true,
		"169.254.169.254:80":          true,
		"[fe80::1%lo]:80":             true,
		"0.0.0.0:80":                  true,
		"[::]:80":                     true,
		"224.0.0.1:80":                true,
		"255.255.255.255:80":          true,
		"[ff02::1]:80":                true,
		"localhost:80":                true, // a dialer has addresses here
		"10.1.2.3:80":                 false,
		"172.16.0.1:80":               false,
		"192.168.1.1:8080":            false,
		"[fd00::1]:80":                false,
		"192.0.2.1:80":                false,
		"[2001:db8::1]:80":            false,
	} {
		if err := refuseNear("tcp", address, nil); (err != nil) != refused {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// endless answers without an end.
type endless struct{ http.RoundTripper }

func (endless) RoundTrip(*http.Request) (*http.Response, error) {
	zeros := iotest.ErrReader(errors.New("the end"))
	for range 8 {
		zeros = io.MultiReader(bytes.NewReader(make([]byte, 1<<20)), zeros)
	}
	return &http.Response{Body: io.NopCloser(zeros)}, nil
}

// Many answers at once are no more than one may be.
func TestAnswersAreBoundedTogether(t *testing.T) {
	t.Parallel()
	n := newNetwork()
	n.direct, n.proxied = endless{}, endless{}
	var all sync.WaitGroup
	read := make([]int, 8)
	for i := range read {
		all.Go(func() {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://far.example", http.NoBody)
			if err != nil {
				t.Error(err)
				return
			}
			response, err := n.RoundTrip(request)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = response.Body.Close() }()
			body, err := io.ReadAll(response.Body)
			if read[i] = len(body); err == nil {
				t.Error("an answer has been read whole")
			}
		})
	}
	all.Wait()
	var sum int
	for _, n := range read {
		sum += n
	}
	if sum == 0 || sum > maxAnswers {
		t.Errorf("read %d bytes, of %d", sum, maxAnswers)
	}
}
