# bash completion for wgvia

_wgvia_devices()
{
	ip -br link show type wireguard 2>/dev/null | cut -d' ' -f1
}

# _wgvia_values KEYWORD WORD...: the values of a keyword after these words
_wgvia_values()
{
	local keyword=$1 dev
	shift
	case $keyword in
	dev) _wgvia_devices ;;
	oif) ls /sys/class/net ;;
	in) wg show "$2" peers 2>/dev/null ;;
	via-wgpeer)
		dev=$(printf '%s\n' "$@" | grep -xA1 dev | tail -n1)
		wg show "${dev:-all}" peers 2>/dev/null | grep -o '[^[:space:]]*$'
		;;
@VALUES@
	esac
}

# _wgvia_keywords WORD...: the keywords of a command that come after these words
_wgvia_keywords()
{
	case $*" " in
@KEYWORDS@
	esac
}

_wgvia()
{
	local cur=${COMP_WORDS[COMP_CWORD]} words=() word candidates keyword

	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		[[ $word == -* ]] || words+=("$word")
	done
	# show may be left out
	if [[ ${words[0]} == route && " @SHOW@ " == *" ${words[1]:-route} "* ]]; then
		words=(route show "${words[@]:1}")
	fi
	if [[ $cur == -* ]]; then
		candidates="@OPTIONS@"
	else
		case ${#words[@]},${words[*]} in
		0,*) candidates="@COMMANDS@" ;;
		1,route) candidates="@ACTIONS@ @SHOW@" ;;
		1,load) compopt -o default ;;
		1,set | 1,show) candidates="$(_wgvia_devices) default" ;;
		1,*) candidates=$(_wgvia_devices) ;;
		2,route\ [!s]*) ;; # a prefix
		2,show\ *) candidates=peers ;;
		2,resolve\ *) ;; # an address
		*,set* | *,route* | *,resolve*)
			for keyword in $(_wgvia_keywords "${words[@]}"); do
				if [[ $keyword == "${words[-1]}" ]]; then
					candidates=$(_wgvia_values "$keyword" "${words[@]}")
					break
				fi
				[[ " ${words[*]} " == *" $keyword "* ]] || candidates+=" $keyword"
			done
			;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$candidates" -- "$cur")
}

complete -F _wgvia wgvia
