"""A program that uses the MCP Python SDK as its documentation says; it knows nothing of Daypass.

Prints where it sends its user, reads the address that the browser was led to, and does what its
arguments say: `tool={"an": "argument"}` calls, `again` starts anew and has its user asked again.
"""

import asyncio
import json
import sys
from urllib.parse import parse_qs, urlparse

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata


class Memory:
    tokens = None
    client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info


def say(what, value):
    print(json.dumps({what: value}), flush=True)


async def redirect(url):
    say("redirect", url)


async def callback():
    line = await asyncio.to_thread(sys.stdin.readline)
    found = {name: values[0] for name, values in parse_qs(urlparse(line.strip()).query).items()}
    return AuthorizationCodeResult(**{k: v for k, v in found.items() if k in ("code", "state", "iss")})


def provider(url):
    metadata = OAuthClientMetadata(
        client_name="Stock Python client",
        redirect_uris=["http://127.0.0.1:33418/callback"],
        grant_types=["authorization_code", "refresh_token"],
        token_endpoint_auth_method="none",
    )
    return OAuthClientProvider(url, metadata, Memory(), redirect, callback)


async def session(url, steps):
    async with httpx2.AsyncClient(auth=provider(url), timeout=60) as http:
        async with Client(streamable_http_client(url, http_client=http)) as client:
            tools = await client.list_tools()
            say("tools", sorted(tool.name for tool in tools.tools))
            for name, arguments in steps:
                result = await client.call_tool(name, arguments)
                text = " ".join(getattr(item, "text", "") for item in result.content)
                say("result", {"name": name, "error": bool(result.is_error), "text": text})


async def main(url, *arguments):
    steps = []
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name != "again":
            steps.append((name, json.loads(value)))
            continue
        await session(url, steps)
        steps = []
    await session(url, steps)


asyncio.run(main(*sys.argv[1:]))
