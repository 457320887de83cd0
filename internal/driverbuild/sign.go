// SPDX-License-Identifier: MIT

package driverbuild

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Sign signs the images in place with a new key that is deleted afterwards, and
// leaves its certificate as test.cer beside the first of them: a machine that
// has test signing on and trusts that certificate loads them. Images that are
// to be shipped need a signature of Microsoft's.
func Sign(ctx context.Context, images []string) error {
	tool, err := exec.LookPath("osslsigncode")
	if err != nil {
		return fmt.Errorf("%w: no osslsigncode; install it: %v", ErrNoTools, err)
	}
	dir, err := os.MkdirTemp("", "kshm-sign-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	der, err := throwAway(cert, key)
	if err != nil {
		return err
	}
	for _, image := range images {
		signed := image + ".signed"
		out, err := exec.CommandContext(ctx, tool, "sign", "-certs", cert, "-key", key, "-h", "sha256",
			"-n", "kshm test driver", "-in", image, "-out", signed).CombinedOutput()
		if err != nil {
			return fmt.Errorf("osslsigncode: %w\n%s", err, out)
		}
		if err := os.Rename(signed, image); err != nil {
			return err
		}
		out, err = exec.CommandContext(ctx, tool, "verify", "-CAfile", cert, "-in", image).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: signature does not verify: %w\n%s", image, err, out)
		}
	}
	return os.WriteFile(filepath.Join(filepath.Dir(images[0]), "test.cer"), der, 0o644)
}

// throwAway writes a self-signed certificate for code and its key.
func throwAway(cert, key string) ([]byte, error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(now.UnixNano()),
		Subject:               pkix.Name{CommonName: "kshm test signing, thrown away"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(1, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	for _, f := range []struct {
		name, kind string
		der        []byte
	}{{cert, "CERTIFICATE", der}, {key, "PRIVATE KEY", keyDER}} {
		text := pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der})
		if err := os.WriteFile(f.name, text, 0o600); err != nil {
			return nil, err
		}
	}
	return der, nil
}
