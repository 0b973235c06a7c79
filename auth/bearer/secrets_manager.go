package bearer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
)

// newSecretsManager returns what reads a secret. Credentials, whose certificates are believed, and an endpoint that is not the
// region's own come from the environment, the shared files or the machine's role, as for all of Amazon's programs. It
// asks nobody for anything yet.
func newSecretsManager(s Secret) (fetch func(ctx context.Context) (string, error), closed func(), err error) {
	c, err := awsconfig.LoadDefaultConfig(context.Background(),
		awsconfig.WithRegion(s.Region),
		awsconfig.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.Proxy = http.ProxyFromEnvironment
			t.IdleConnTimeout = 2 * time.Minute
			t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		})),
		awsconfig.WithLogger(logging.Nop{}), // it quotes requests
	)
	if err != nil {
		return nil, nil, fmt.Errorf("credentials for AWS: %w", err)
	}
	built, ok := c.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		return nil, nil, fmt.Errorf("the library asks by a %T", c.HTTPClient)
	}
	transport := built.GetTransport()
	client := secretsmanager.NewFromConfig(c, func(o *secretsmanager.Options) {
		o.HTTPClient = &http.Client{Transport: transport, CheckRedirect: stay}
	})
	fetch = func(ctx context.Context) (string, error) {
		answer, err := client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String(s.Name)})
		switch {
		case err != nil:
			return "", toldByAWS(err)
		case answer.SecretString == nil:
			return "", errors.New("the secret holds bytes, and no text")
		}
		return *answer.SecretString, nil
	}
	return fetch, transport.CloseIdleConnections, nil
}

// stay follows no redirection: what a request brings is for whom it was sent to.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// toldByAWS is an error that may be logged, and says the same of the same failure. No text of the library's or of AWS's is in it: they
// quote requests with the token of a session, what a program has said that gives out keys, and the port that was ours.
func toldByAWS(err error) error {
	if refused, is := errors.AsType[smithy.APIError](err); is {
		return fmt.Errorf("AWS refuses with %.60q", word(refused.ErrorCode()))
	}
	if asked, is := errors.AsType[*url.Error](err); is { // which is not AWS where credentials come from elsewhere
		host := "AWS"
		if at, err := url.Parse(asked.URL); err == nil {
			host = at.Host
		}
		return fmt.Errorf("%s does not answer: %w", host, failureOf(asked.Err))
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("AWS does not answer: %w", failureOf(err))
	}
	return errors.New("there are no credentials for AWS, or its answer is none: see what 'aws secretsmanager get-secret-value' says with the same environment")
}

// failureOf is why somebody could not be asked, by its kind.
func failureOf(err error) error {
	late, is := errors.AsType[net.Error](err)
	if is && late.Timeout() {
		return errors.New("not in time")
	}
	if number, is := errors.AsType[syscall.Errno](err); is && number != syscall.ECONNRESET && number != syscall.EPIPE { // or EOF, by chance
		return number
	}
	if _, is := errors.AsType[*net.DNSError](err); is {
		return errors.New("its name is not found")
	}
	if _, is := errors.AsType[*tls.CertificateVerificationError](err); is {
		return errors.New("its certificate is not believed")
	}
	return errors.New("the connection breaks")
}

// word is a code with nothing in it but what codes are made of.
func word(code string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' {
			return r
		}
		return -1
	}, code)
}
