"""An image in its registry, by the OCI distribution API: https://github.com/opencontainers/distribution-spec."""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import re
from functools import partial
from typing import Any

import requests
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError

from lyftlearn._text.redaction import redact_causes
from lyftlearn.ops.images.credentials import RegistryCredentials, credentials_for
from lyftlearn.ops.images.facts import ImageFacts, ImageUnreadable, Lookup
from lyftlearn.ops.images.layers import UnreadableLayers, contents_of
from lyftlearn.ops.images.reference import ImageReference, parse_reference

SECONDS = 20.0
_LARGEST_DOCUMENT = 16 << 20
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_ACCEPT = {"Accept": ", ".join(_INDEXES + _MANIFESTS)}
_SOCI = ("application/vnd.amazon.soci.index.v1+json", "application/vnd.amazon.soci.index.v2+json")
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_POOL = re.compile(r"^HTTPS?Connection(Pool)?\([^)]*\): ")
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


def look_in_registry(name: str, lookup: Lookup) -> ImageFacts:
    """Return what the image's registry tells of it. Raises ImageUnreadable."""
    reference = parse_reference(name)
    with requests.Session() as session:
        try:
            return _Repository(reference, session, lookup).facts()
        except (requests.RequestException, HTTPError, OSError) as error:
            raise ImageUnreadable(f"{reference.registry} cannot be reached: {_reason(error)}") from redact_causes(error)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            problem = f"{reference.registry} answers what no registry does: {type(error).__name__}: {error}"
            raise ImageUnreadable(problem) from error


def _reason(error: Exception) -> str:
    """Return the innermost words: around them are pools of connections, which nobody asked about."""
    inner = getattr(next(iter(error.args), None), "reason", None) or error
    return _POOL.sub("", str(inner))


class _Authorization(AuthBase):
    """A header for this registry alone: requests drops it where it is led elsewhere."""

    def __init__(self, header: str) -> None:
        self._header = header

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._header
        return request


class _Repository:
    """One repository of a registry, with what opens it once it asks for that."""

    def __init__(self, reference: ImageReference, session: requests.Session, lookup: Lookup) -> None:
        self._reference = reference
        self._lookup = lookup
        self._session = session
        self._address = f"{reference.address}/{reference.repository}"

    def facts(self) -> ImageFacts:
        """Ask what the name means now, and all else only of content that nobody has looked at before."""
        content = self._content(f"manifests/{self._reference.version}", headers=_ACCEPT)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        look = partial(self._facts, json.loads(content), digest)
        return self._lookup.kept.facts(f"{self._reference.registry} {platform.machine()} {digest}", look)

    def _facts(self, named: dict[str, Any], named_digest: str) -> ImageFacts:
        manifest, digest, index = self._manifest(named, named_digest)
        config = self._json(f"blobs/{manifest['config']['digest']}")
        size = sum(layer["size"] for layer in manifest["layers"])
        contents, unread = None, ""
        settings = config.get("config") or {}
        try:
            contents = contents_of(self._layers(manifest, size), settings.get("Env") or ())
        except UnreadableLayers as error:
            unread = str(error)
        return ImageFacts(
            origin=self._reference.registry,
            platforms=_platforms(index) or (f"{config['os']}/{config['architecture']}",),
            user=settings.get("User") or "",
            entrypoint=tuple(settings.get("Entrypoint") or ()),
            size=size,
            contents=contents,
            unread=unread,
            has_soci_index=self._has_soci_index(digest, index),
        )

    def _manifest(self, document: dict[str, Any], digest: str) -> tuple[dict[str, Any], str, dict[str, Any]]:
        """Return the manifest for this machine's architecture, or the first, its digest, and the index it stands in."""
        if "manifests" not in document:
            return _plain_manifest(document), digest, {}
        images = [entry for entry in document["manifests"] if _is_image(entry)]
        if not images:
            raise ImageUnreadable("its index names no image")
        here = _MACHINES.get(platform.machine(), platform.machine())
        chosen = next((entry for entry in images if entry["platform"]["architecture"] == here), images[0])
        return _plain_manifest(self._json(f"manifests/{chosen['digest']}", headers=_ACCEPT)), chosen["digest"], document

    def _layers(self, manifest: dict[str, Any], size: int) -> Any:
        if size > self._lookup.most_read:
            raise UnreadableLayers(f"{size / (1 << 30):.1f} GiB are too much to fetch for it; pull it, and ask again")
        for layer in manifest["layers"]:
            with self._get(f"blobs/{layer['digest']}") as answer:
                yield layer["mediaType"], answer.raw

    def _has_soci_index(self, digest: str, index: dict[str, Any]) -> bool:
        """Whether one stands in the index (version 2), or refers to the image: by API, or by the tag in its place."""
        entries = list(index.get("manifests") or ())
        for path in (f"referrers/{digest}", f"manifests/{digest.replace(':', '-')}"):
            answer = self._try(path, headers={"Accept": _INDEXES[0]})
            is_there = answer.status_code == requests.codes.ok
            entries += json.loads(_whole(answer)).get("manifests") or () if is_there else ()
        return any(entry.get("artifactType") in _SOCI for entry in entries)

    def _json(self, path: str, **options: Any) -> dict[str, Any]:
        return dict(json.loads(self._content(path, **options)))

    def _content(self, path: str, **options: Any) -> bytes:
        return _whole(self._get(path, **options))

    def _get(self, path: str, **options: Any) -> requests.Response:
        answer = self._try(path, **options)
        if answer.status_code in (requests.codes.unauthorized, requests.codes.forbidden):
            registry = self._reference.registry
            raise ImageUnreadable(f"{registry} refuses it: log in with `docker login {registry}`, or ask for access")
        if answer.status_code == requests.codes.not_found:
            raise ImageUnreadable(f"{self._reference.registry} has no such image: is it pushed, and spelt so?")
        answer.raise_for_status()
        return answer

    def _try(self, path: str, **options: Any) -> requests.Response:
        ask = partial(self._session.get, f"{self._address}/{path}", timeout=SECONDS, stream=True, **options)
        answer = ask()
        if answer.status_code == requests.codes.unauthorized and self._session.auth is None:
            challenge = answer.headers.get("WWW-Authenticate", "")
            if authorization := self._authorization(challenge, credentials_for(self._reference, self._lookup.logins)):
                self._session.auth = _Authorization(authorization)
                answer = ask()
        return answer

    def _authorization(self, challenge: str, opener: RegistryCredentials | None) -> str | None:
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "bearer":
            token = self._token(dict(_PARAMETER.findall(rest)), opener)
            return f"Bearer {token}" if token else None
        if scheme.lower() != "basic" or opener is None:
            return None
        return "Basic " + base64.b64encode(f"{opener.username}:{opener.password}".encode()).decode()

    def _token(self, challenge: dict[str, str], opener: RegistryCredentials | None) -> str | None:
        """Exchange what there is for a token that reads: https://distribution.github.io/distribution/spec/auth/token."""
        scope = challenge.get("scope") or f"repository:{self._reference.repository}:pull"
        asked = {"service": challenge.get("service", ""), "scope": scope}
        if opener is not None and opener.identity_token:
            form = {"grant_type": "refresh_token", "refresh_token": opener.identity_token, "client_id": "lyftlearn"}
            answer = requests.post(challenge["realm"], data={**asked, **form}, timeout=SECONDS)
        else:
            user = (opener.username, opener.password) if opener else None
            answer = requests.get(challenge["realm"], params=asked, auth=user, timeout=SECONDS)
        if answer.status_code != requests.codes.ok:
            return None
        content = answer.json()
        return str(content.get("token") or content.get("access_token") or "") or None


def _whole(answer: requests.Response) -> bytes:
    """Return a document, which no registry takes in such a size: manifests may have 4 MiB by the specification."""
    content: bytes = answer.raw.read(_LARGEST_DOCUMENT + 1, decode_content=True)
    answer.close()
    if len(content) > _LARGEST_DOCUMENT:
        raise ImageUnreadable(f"a document about it has more than {_LARGEST_DOCUMENT >> 20} MiB")
    return content


def _is_image(entry: dict[str, Any]) -> bool:
    """Attestations stand in an index, too, for an unknown platform."""
    return "artifactType" not in entry and entry.get("platform", {}).get("os") not in (None, "unknown")


def _platforms(index: dict[str, Any]) -> tuple[str, ...]:
    images = [entry["platform"] for entry in index.get("manifests") or () if _is_image(entry)]
    return tuple(dict.fromkeys(f"{image['os']}/{image['architecture']}" for image in images))


def _plain_manifest(manifest: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(manifest.get("config"), dict) or not isinstance(manifest.get("layers"), list):
        raise ImageUnreadable("its manifest is of a kind that no current engine reads: push it again")
    return manifest
