"""A small Kubernetes cluster for tests, on a real socket of this machine.

An API server with the semantics that clients lean on, a job controller, and a kubelet that runs the containers'
processes in namespaces. The libraries that exist emulate single answers, or objects without versions that compare,
pages, selectors and expired watches, which are what clients of Kubernetes get wrong.
"""
