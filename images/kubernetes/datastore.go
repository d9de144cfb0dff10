// The applet datastore: a cluster's objects saved, looked at, and put back, whichever store holds them.
//
// Each word writes one new file or folder and flushes it; names and renames are the caller's. What is put back never goes back in
// revisions: a client that saw a later one is told to look again (compacted), and never that nothing happened since.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/lease/leasepb"
	_ "modernc.org/sqlite" // kine's own driver, by database/sql
)

// margin lies between the last revision that anybody can have seen and the first one after a restoration.
const margin = 1000

// unknown is the margin where the store that is replaced cannot be read.
const unknown = 1_000_000

var (
	keyBucket   = []byte("key")
	leaseBucket = []byte("lease")
	metaBucket  = []byte("meta")
	// etcd's own words: at its start it takes this revision for its last one, and compacts up to it.
	scheduledCompact = []byte("scheduledCompactRev")
	finishedCompact  = []byte("finishedCompactRev")
)

const usage = `datastore look FILE
datastore save-sqlite FROM TO
datastore save-etcd ENDPOINT CA CERTIFICATE KEY TO
datastore to-sqlite FROM TO [REPLACED]
datastore to-etcd FROM FOLDER NAME PEER-URL [REPLACED]
`

// datastore runs the applet.
func datastore() int {
	words := os.Args[1:]
	is := func(word string, least, most int) bool {
		return len(words) > 0 && words[0] == word && len(words)-1 >= least && len(words)-1 <= most
	}
	optional := func(at int) string {
		if len(words) > at {
			return words[at]
		}
		return ""
	}
	switch {
	case is("look", 1, 1):
		return failed(show(words[1]))
	case is("save-sqlite", 2, 2):
		return failed(about("saving "+words[1], saveSQLite(words[1], words[2])))
	case is("save-etcd", 5, 5):
		return failed(about("saving etcd's objects", saveEtcd(words[1], words[2], words[3], words[4], words[5])))
	case is("to-sqlite", 2, 3):
		return failed(about("restoring "+words[1], toSQLite(words[1], words[2], optional(3))))
	case is("to-etcd", 4, 5):
		return failed(about("restoring "+words[1], toEtcd(words[1], words[2], words[3], words[4], optional(5))))
	}
	fmt.Fprint(os.Stderr, usage)
	return 2
}

func about(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// content is what a whole, readable file of either kind holds.
type content struct {
	Kind     string `json:"kind"`
	Revision int64  `json:"revision"`
	Objects  int    `json:"objects"`
}

func show(path string) error {
	found, err := look(path)
	if err != nil {
		return about("reading "+path, err)
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

func look(path string) (content, error) {
	file, err := os.Open(path)
	if err != nil {
		return content{}, err
	}
	defer file.Close()
	head := make([]byte, 16)
	if _, err := io.ReadFull(file, head); err != nil {
		return content{}, errors.New("it is too short for a datastore")
	}
	if string(head) == "SQLite format 3\x00" {
		return lookSQLite(path)
	}
	return lookEtcd(path, file)
}

func openSQLite(path string) (*sql.DB, error) {
	// Never made anew: a wrong name is a mistake, not an empty cluster.
	address := url.URL{Scheme: "file", Path: path, RawQuery: "mode=rw&_pragma=busy_timeout(60000)&_pragma=synchronous(FULL)"}
	db, err := sql.Open("sqlite", address.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// current selects the last row of each object that is there.
const current = ` FROM kine AS kv JOIN (SELECT MAX(id) AS id FROM kine GROUP BY name) AS last ON kv.id = last.id
	WHERE kv.deleted = 0 AND kv.name LIKE '/%' ORDER BY kv.id`

func lookSQLite(path string) (content, error) {
	found := content{Kind: "sqlite"}
	db, err := openSQLite(path)
	if err != nil {
		return found, err
	}
	defer db.Close()
	var said string
	if err := db.QueryRow("PRAGMA quick_check(1)").Scan(&said); err != nil {
		return found, err
	}
	if said != "ok" {
		return found, fmt.Errorf("it is damaged: %s", said)
	}
	if err := db.QueryRow("SELECT COALESCE(MAX(id), 0) FROM kine").Scan(&found.Revision); err != nil {
		return found, err
	}
	return found, db.QueryRow("SELECT COUNT(*)" + current).Scan(&found.Objects)
}

// hasDigest says whether a file of this size is a saved etcd with its SHA-256 behind it.
func hasDigest(size int64) bool { return size%512 == sha256.Size }

func lookEtcd(path string, file *os.File) (content, error) {
	found := content{Kind: "etcd"}
	status, err := file.Stat()
	if err != nil {
		return found, err
	}
	if hasDigest(status.Size()) {
		if err := isWhole(file, status.Size()); err != nil {
			return found, err
		}
	}
	db, err := bolt.Open(path, 0o400, &bolt.Options{ReadOnly: true, Timeout: 5 * time.Second})
	if err != nil {
		return found, fmt.Errorf("it is neither SQLite nor etcd: %w", err)
	}
	defer db.Close()
	return found, db.View(func(tx *bolt.Tx) error {
		for damage := range tx.Check() {
			return fmt.Errorf("it is damaged: %w", damage)
		}
		keys := tx.Bucket(keyBucket)
		if keys == nil {
			return errors.New("it is no datastore of etcd")
		}
		there := map[string]bool{}
		err := keys.ForEach(func(at, value []byte) error {
			if len(at) < 17 {
				return errors.New("it is damaged: a revision is too short")
			}
			found.Revision = int64(binary.BigEndian.Uint64(at))
			var kv mvccpb.KeyValue
			if err := kv.Unmarshal(value); err != nil {
				return err
			}
			if len(at) > 17 {
				delete(there, string(kv.Key))
			} else if bytes.HasPrefix(kv.Key, []byte("/")) {
				there[string(kv.Key)] = true
			}
			return nil
		})
		found.Objects = len(there)
		if meta := tx.Bucket(metaBucket); meta != nil {
			for _, name := range [][]byte{scheduledCompact, finishedCompact} {
				if at := meta.Get(name); len(at) >= 8 {
					found.Revision = max(found.Revision, int64(binary.BigEndian.Uint64(at)))
				}
			}
		}
		return err
	})
}

func isWhole(file *os.File, size int64) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	digest := sha256.New()
	if _, err := io.CopyN(digest, file, size-sha256.Size); err != nil {
		return err
	}
	want := make([]byte, sha256.Size)
	if _, err := io.ReadFull(file, want); err != nil {
		return err
	}
	if !bytes.Equal(want, digest.Sum(nil)) {
		return errors.New("it is damaged: its digest is another one")
	}
	return nil
}

// saveSQLite writes one moment of a database that may be in use.
func saveSQLite(from, to string) error {
	db, err := openSQLite(from)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.Exec("VACUUM INTO ?", to); err != nil {
		return err
	}
	return flush(to)
}

// saveEtcd writes one moment of an etcd that runs, with its digest.
func saveEtcd(endpoint, ca, certificate, key, to string) error {
	tls, err := transport.TLSInfo{TrustedCAFile: ca, CertFile: certificate, KeyFile: key}.ClientConfig()
	if err != nil {
		return err
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, TLS: tls, DialTimeout: 10 * time.Second})
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	stream, err := client.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	file, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	size, err := io.Copy(file, stream)
	if err != nil {
		return err
	}
	if !hasDigest(size) {
		return errors.New("etcd sent no digest: what came is not whole")
	}
	return file.Sync()
}

// after is a revision that nobody has seen: neither in what is restored nor in what that replaces.
func after(restored int64, replaced string) int64 {
	if replaced == "" {
		return restored
	}
	found, err := look(replaced)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s cannot be read (%v): going on %d revisions later\n", replaced, err, unknown)
		return restored + unknown
	}
	return max(restored, found.Revision) + margin
}

// toSQLite makes a database for kine of a saved one.
func toSQLite(from, to, replaced string) error {
	found, err := look(from)
	if err != nil {
		return err
	}
	if found.Kind != "sqlite" {
		return errors.New("it was saved by etcd, and this server keeps its objects in SQLite: write --cluster-init to restore it")
	}
	if err := saveSQLite(from, to); err != nil {
		return err
	}
	db, err := openSQLite(to)
	if err != nil {
		return err
	}
	defer db.Close()
	if last := after(found.Revision, replaced); last > found.Revision {
		// As kine writes a revision that was lost, and as it notes what it has compacted.
		insert := `INSERT INTO kine(id, name, created, deleted, create_revision, prev_revision, lease) VALUES(?, ?, 0, 1, 0, 0, 0)`
		if _, err := db.Exec(insert, last, fmt.Sprintf("gap-%d", last)); err != nil {
			return err
		}
		if _, err := db.Exec("UPDATE kine SET prev_revision = ? WHERE name = 'compact_rev_key'", last); err != nil {
			return err
		}
	}
	if err := db.Close(); err != nil {
		return err
	}
	return flush(to)
}

// toEtcd makes the data of an etcd with one member: of a saved one, or of kine's SQLite with each object's own revision.
func toEtcd(from, folder, name, peer, replaced string) error {
	found, err := look(from)
	if err != nil {
		return err
	}
	if err := empty(folder, name, peer); err != nil {
		return about("making an empty etcd", err)
	}
	db, err := bolt.Open(filepath.Join(folder, "member/snap/db"), 0o600, &bolt.Options{Timeout: 5 * time.Second})
	if err != nil {
		return err
	}
	defer db.Close()
	copied := copyEtcd
	if found.Kind == "sqlite" {
		copied = copySQLite
	}
	last := after(found.Revision, replaced)
	err = db.Update(func(tx *bolt.Tx) error {
		for _, bucket := range [][]byte{keyBucket, leaseBucket} {
			if err := tx.DeleteBucket(bucket); err != nil && !errors.Is(err, bolt.ErrBucketNotFound) {
				return err
			}
			if _, err := tx.CreateBucket(bucket); err != nil {
				return err
			}
		}
		if err := copied(from, tx); err != nil {
			return err
		}
		meta, err := tx.CreateBucketIfNotExists(metaBucket)
		if err != nil {
			return err
		}
		if err := meta.Delete(finishedCompact); err != nil {
			return err
		}
		return meta.Put(scheduledCompact, revision(last))
	})
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	return flush(folder)
}

// empty makes the data of a new etcd, which knows its name and where its peers will reach it.
func empty(folder, name, peer string) error {
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	advertised, err := url.Parse(peer)
	if err != nil {
		return err
	}
	folder, err = filepath.Abs(folder)
	if err != nil {
		return err
	}
	// Sockets that nobody else reaches. etcd wants the form of a host and a port, which makes a name in the working directory.
	sockets, err := os.MkdirTemp("", "skerry-etcd")
	if err != nil {
		return err
	}
	defer os.RemoveAll(sockets)
	before, err := os.Getwd()
	if err != nil {
		return err
	}
	if err := os.Chdir(sockets); err != nil {
		return err
	}
	defer os.Chdir(before)
	socket := func(name string) url.URL { return url.URL{Scheme: "unix", Host: name + ":1"} }
	config := embed.NewConfig()
	config.Dir, config.Name, config.LogLevel = folder, name, "error"
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{socket("peer")}, []url.URL{*advertised}
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{socket("client")}, []url.URL{socket("client")}
	config.InitialCluster = name + "=" + peer
	// Earlier members of the same cluster must not know this one.
	config.InitialClusterToken = fmt.Sprintf("skerry-%d", time.Now().UnixNano())
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	defer etcd.Close()
	select {
	case <-etcd.Server.ReadyNotify():
		return nil
	case err := <-etcd.Err():
		return err
	case <-time.After(5 * time.Minute):
		return errors.New("it did not become ready in five minutes")
	}
}

func revision(main int64) []byte {
	bytes := make([]byte, 17)
	binary.BigEndian.PutUint64(bytes, uint64(main))
	bytes[8] = '_'
	return bytes
}

func copyEtcd(from string, to *bolt.Tx) error {
	db, err := bolt.Open(from, 0o400, &bolt.Options{ReadOnly: true, Timeout: 5 * time.Second})
	if err != nil {
		return err
	}
	defer db.Close()
	return db.View(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{keyBucket, leaseBucket} {
			source, target := tx.Bucket(name), to.Bucket(name)
			if source == nil {
				continue
			}
			target.FillPercent = 0.9
			// What is put must stay until the commit, and the source is closed before.
			put := func(at, value []byte) error { return target.Put(at, bytes.Clone(value)) }
			if err := source.ForEach(put); err != nil {
				return err
			}
		}
		return nil
	})
}

func copySQLite(from string, to *bolt.Tx) error {
	db, err := openSQLite(from)
	if err != nil {
		return err
	}
	defer db.Close()
	rows, err := db.Query("SELECT kv.id, kv.name, kv.created, kv.create_revision, kv.lease, kv.value" + current)
	if err != nil {
		return err
	}
	defer rows.Close()
	keys, leases := to.Bucket(keyBucket), to.Bucket(leaseBucket)
	keys.FillPercent = 0.9
	for rows.Next() {
		kv := mvccpb.KeyValue{Version: 1}
		var created int64
		if err := rows.Scan(&kv.ModRevision, &kv.Key, &created, &kv.CreateRevision, &kv.Lease, &kv.Value); err != nil {
			return err
		}
		if created != 0 || kv.CreateRevision == 0 {
			kv.CreateRevision = kv.ModRevision
		}
		// kine's lease is a span in seconds; here one lease of that span holds all of its objects.
		if kv.Lease > 0 {
			lease := leasepb.Lease{ID: kv.Lease, TTL: kv.Lease}
			value, err := lease.Marshal()
			if err != nil {
				return err
			}
			if err := leases.Put(binary.BigEndian.AppendUint64(nil, uint64(kv.Lease)), value); err != nil {
				return err
			}
		}
		value, err := kv.Marshal()
		if err != nil {
			return err
		}
		if err := keys.Put(revision(kv.ModRevision), value); err != nil {
			return err
		}
	}
	return rows.Err()
}

// flush makes a file or a folder's entries survive a power cut.
func flush(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return file.Sync()
}
