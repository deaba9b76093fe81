"""What looks like a secret is found wherever it stands, and what only sounds like one stays."""

from __future__ import annotations

import pytest

from decodebench.core.sdk.secrets import REMOVED, first_secret, hide, is_secret_name

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl"

SECRET_NAMES = """api_key apiKey apikey APIKEY api-keys API_KEY_2 APIkey x-api-key --admin-api-key hf_token HF_TOKEN
hfToken hftoken accessToken access_tokens authToken auth-token token key secret client_secret clientSecret secretKey
password db_password PGPASSWORD passwd passphrase credentials Authorization Proxy-Authorization bearer cookie db_pass
private_key AWS_SECRET_ACCESS_KEY openai_key OPENAI_API_KEY basic_auth api_key_value jwt GROQ_KEY pwd
-hft --pass""".split()
OTHER_NAMES = """stop_token_ids allowed_token_ids return_token_ids max_tokens maxTokens token_limit tokens tokenizer
tokenizers_parallelism key-file api_key_file ssl-keyfile api_key_env keys_per_head num_key_value_heads PWD eos_token
pad_token kv_bytes_per_token time_per_output_token access_key_id token_count secret_name no-auth disable-auth
prompt_cache_key extra_key public_key monkey turkey passes forward_pass author authors authority keyboard
add_bos_token OLDPWD return_tokens_as_token_ids thinking_token_budget secrets_removed""".split()


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_name_whose_last_word_is_a_secret_holds_one(name):
    assert is_secret_name(name)


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_counts_paths_ids_and_names_of_variables_are_no_secrets(name):
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "value",
    [
        "serve --admin-api-key s3cr3t --port 1",
        "serve --hf-token 's3cr3t and more'",
        'serve --auth-token="s3cr3t"',
        "env HF_TOKEN=s3cr3t serve",
        "bash -c 'VLLM_API_KEY=s3cr3t exec vllm'",
        '["serve", "--auth-token", "s3cr3t"]',
        ["serve", "--auth-token", "s3cr3t,&;x"],
        ["env", "VLLM_API_KEY=s3cr3t"],
        ["Authorization", "Basic s3cr3t"],
        {"headers": {"authorization": "Bearer s3cr3t"}},
        {"headers": {"X-Custom": "Bearer s3cr3t"}},
        {"headers": [{"name": "x-api-key", "value": "s3cr3t"}]},
        {"a": [{"accessToken": ["s3cr3t"]}]},
        {"auth": {"user": "s3cr3t"}},
        {"token": "s3cr3t"},
        {"password": 53237},
        "password: s3cr3t",
        "Cookie: a=s3cr3t; b=s3cr3t",
        "http://user:s3cr3t@host/v1",
        "http://host/v1?a=1&access_token=s3cr3t&b=2",
        f"text {JWT} text".replace("c2ln", "s3cr3t"),
        "-----BEGIN RSA PRIVATE KEY-----\ns3cr3t\n-----END RSA PRIVATE KEY-----",
        "AKIAIOSFODNN7EXAMPLE",
    ],
    ids=str,
)
def test_a_secret_is_hidden_and_named_without_being_quoted(value):
    found = []
    hidden = hide(value, found.append)
    assert found and "s3cr3t" not in f"{hidden}{found}" and "53237" not in str(hidden) and REMOVED in str(hidden)
    assert first_secret(value) == found[0] and first_secret(hidden) is None


@pytest.mark.parametrize(
    "value",
    [
        "serve --key-file f --token-limit 4 --tokenizer t --max-tokens 9 --ssl-keyfile=k",
        "serve --api-key {name}",
        "bash -c 'serve --api-key $KEY'",
        ["serve", "--require-auth", "--port", "1", "--max-tokens", "9"],
        {"stop_token_ids": [1], "return_token_ids": True, "token": 5, "api_key": None, "api_key_env": "MY_KEY"},
        {"json": {"properties": {"password": {"type": "string"}}, "required": ["password"]}},
        "model@revision https://host/a@b max_new_tokens = 3, unknown key: x",
        ["token", "key"],
    ],
    ids=str,
)
def test_what_is_no_secret_stays(value):
    assert hide(value, pytest.fail) == value


def test_in_prose_only_shapes_and_certain_names_count():
    prose = {"text": "the token: a, password=b, --api-key c, Bearer d", "token": " the"}
    assert hide(prose, pytest.fail, is_prose=True) == prose
    assert hide({"text": f"say {JWT}"}, str, is_prose=True) == {"text": f"say {REMOVED}"}
    assert hide({"hf_token": "x"}, str, is_prose=True) == {"hf_token": REMOVED}
