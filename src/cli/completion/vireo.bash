# bash completion of vireo, made by `vireo completion bash`. What there is to complete, vireo itself is asked.
_vireo() {
  # Bash splits words at = and : too. Here they are put together again, up to the cursor.
  local rest=${COMP_LINE:0:COMP_POINT} i n=-1 word
  local -a words=()
  for ((i = 0; i <= COMP_CWORD; i++)); do
    if [[ $n -lt 0 || $rest == [[:space:]]* ]]; then
      rest=${rest#"${rest%%[![:space:]]*}"}
      words[++n]=
    fi
    word=${COMP_WORDS[i]}
    ((i < COMP_CWORD)) || word=$rest
    words[n]+=$word
    # Quotes around a whole word are no part of it.
    ((i == COMP_CWORD)) || words[n]=${words[n]//[\"\']/}
    rest=${rest#"$word"}
  done
  # What of the word readline has behind it ($2 is what it completes): --output= of --output=yaml.
  local kept=${words[n]%"$2"} value
  COMPREPLY=()
  while IFS=$'\t' read -r value _; do
    if [[ $value == :files ]]; then
      compopt -o default
      return
    fi
    COMPREPLY+=("${value#"$kept"}")
  done < <(@VIREO@ __complete -- "${words[@]:1}" 2>/dev/null)
  if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=/.] ]]; then compopt -o nospace; fi
}
complete -F _vireo vireo
