package disk

import (
	"maps"
	"path"
	"slices"
)

// Tree is the names of a file system twice: as programs see them, and as the disk has them. Between the two
// lie the changes that nobody synced, in the order in which they were made. T is what the owner of the tree
// keeps for a file or directory. A Tree is not safe for concurrent use.
type Tree[T any] struct {
	root    *Node[T]
	freed   func(T)
	pending []*change[T]
	last    map[slot[T]]*change[T] // the latest pending change of a name
}

// slot is a name in a directory, whatever it stands for.
type slot[T any] struct {
	dir  *Node[T]
	name string
}

// Node is a file or a directory. It lives as long as it has a name that programs see, a name on the disk, a
// pending change that mentions it, or a hold of its owner.
type Node[T any] struct {
	// Value belongs to the owner of the tree.
	Value T

	dir     bool
	parent  *Node[T]            // of a directory
	names   map[string]*Node[T] // as programs see them
	durable map[string]*Node[T] // as the disk has them
	touched []*change[T]        // pending changes of names in this directory
	placed  *change[T]          // the pending change that put this directory where it is
	links   int
	holds   int
}

// New returns a tree of a root directory that is on the disk. Freed is called with the value of each node
// that nothing leads to any more; it may be nil and must not call the tree.
func New[T any](root T, freed func(T)) *Tree[T] {
	t := &Tree[T]{freed: freed, last: map[slot[T]]*change[T]{}}
	t.root = t.NewDir(root)
	t.root.holds = 1
	return t
}

// Root returns the root directory.
func (t *Tree[T]) Root() *Node[T] { return t.root }

// NewFile returns a file without a name.
func (t *Tree[T]) NewFile(value T) *Node[T] { return &Node[T]{Value: value} }

// NewDir returns an empty directory without a name.
func (t *Tree[T]) NewDir(value T) *Node[T] {
	return &Node[T]{Value: value, dir: true, names: map[string]*Node[T]{}, durable: map[string]*Node[T]{}}
}

// IsDir says whether the node is a directory.
func (n *Node[T]) IsDir() bool { return n.dir }

// Links returns how many names programs see for the node.
func (n *Node[T]) Links() int { return n.links }

// Lookup returns what programs see under a name of the directory, or nil.
func (n *Node[T]) Lookup(name string) *Node[T] { return n.names[name] }

// Names returns the names that programs see in the directory, sorted.
func (n *Node[T]) Names() []string { return slices.Sorted(maps.Keys(n.names)) }

// Load gives a node a name that is already on the disk.
func (t *Tree[T]) Load(dir *Node[T], name string, n *Node[T]) {
	t.show(dir, name, n)
	t.store(dir, name, n)
}

// Hold keeps the node alive until Drop.
func (t *Tree[T]) Hold(n *Node[T]) { n.holds++ }

// Drop ends one Hold.
func (t *Tree[T]) Drop(n *Node[T]) {
	n.holds--
	if n.holds == 0 && t.freed != nil {
		t.freed(n.Value)
	}
}

// show changes what programs see under a name; n is nil to remove it.
func (t *Tree[T]) show(dir *Node[T], name string, n *Node[T]) {
	old := dir.names[name]
	if n == nil {
		delete(dir.names, name)
	} else {
		dir.names[name] = n
		n.links++
		t.Hold(n)
		if n.dir {
			n.parent = dir
		}
	}
	if old != nil {
		old.links--
		t.Drop(old)
	}
}

// store changes what the disk has under a name; n is nil to remove it.
func (t *Tree[T]) store(dir *Node[T], name string, n *Node[T]) {
	old := dir.durable[name]
	if n == nil {
		delete(dir.durable, name)
	} else {
		dir.durable[name] = n
		t.Hold(n)
	}
	if old != nil {
		t.Drop(old)
	}
}

// Walk calls fn with each path that is on the disk, parents before their children, names sorted, the root
// left out. It stops at the first error and returns it.
func (t *Tree[T]) Walk(fn func(path string, n *Node[T]) error) error {
	return walk(t.root, "", fn)
}

func walk[T any](dir *Node[T], prefix string, fn func(string, *Node[T]) error) error {
	for _, name := range slices.Sorted(maps.Keys(dir.durable)) {
		n, at := dir.durable[name], path.Join(prefix, name)
		if err := fn(at, n); err != nil {
			return err
		}
		if n.dir {
			if err := walk(n, at, fn); err != nil {
				return err
			}
		}
	}
	return nil
}
